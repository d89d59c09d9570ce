"""Stage 5: probe the edited model again until it is quiet (METHOD section 5)."""
