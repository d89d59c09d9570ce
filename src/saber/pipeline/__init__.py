"""The method in code: one line a stage."""

from saber.pipeline.run import Outcome, probe, run

__all__ = ["Outcome", "probe", "run"]
