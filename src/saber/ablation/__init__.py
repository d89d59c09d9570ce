"""Stage 4: from directions to low-rank edits of residual writers (METHOD sections 0.2 and 4)."""
