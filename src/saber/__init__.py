"""SABER edits refusal behaviour in open-weight chat models and measures what else changed."""

__version__ = "0.1.0"
