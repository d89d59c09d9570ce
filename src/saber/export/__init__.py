"""Out of the lab: edited checkpoints, LoRA adapters, their verification and the way back to the base."""
