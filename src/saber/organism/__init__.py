"""The embedded demo model: a small chat model trained from scratch, its corpus and its training."""

from __future__ import annotations

from pathlib import Path


def demo_path() -> Path:
    """Return the folder of the demo checkpoint that the package ships."""
    return Path(__file__).parent / "demo"
