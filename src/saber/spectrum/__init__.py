"""Stage 2: activations become ranked directions."""
