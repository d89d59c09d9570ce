"""Stage 3: how much of each direction is capability."""
