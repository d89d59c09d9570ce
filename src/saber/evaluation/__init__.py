"""What changed, with error bars: refusal, over-refusal, drift, capability (METHOD section 6)."""
