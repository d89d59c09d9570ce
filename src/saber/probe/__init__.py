"""Stage 1: from prompts to activations at the positions where refusal is read (METHOD section 1)."""
