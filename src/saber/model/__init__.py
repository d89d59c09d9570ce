"""What is asked of: loading a chat model, its residual writers, hooks and greedy answers."""
