"""Candidates that share forward passes: strengths by row, and blocks before the first edit computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from saber.ablation.units import Knob
from saber.model.forward import call
from saber.model.generate import Batch
from saber.model.replay import Prefix


class Lane:
    """Candidates that share passes.

    Attributes:
        candidates: Their places in the caller's order.
    """

    def __init__(
        self,
        candidates: list[int],
        knob: Knob | None = None,
        alphas: Tensor | None = None,
        prefix: Prefix | None = None,
    ) -> None:
        """Without a knob, the one candidate is on the model already."""
        self.candidates = candidates
        self._knob, self._alphas, self._prefix = knob, alphas, prefix

    def strengthen(self, owners: Sequence[int]) -> None:
        """Give each row of the next passes the strengths of its candidate (place in the lane)."""
        if self._knob is not None and self._alphas is not None:
            self._knob.set(self._alphas[list(owners)])

    def run(self, model: Any, batch: Batch, owners: Sequence[int], *, keep: int) -> Tensor:
        """Logits of the last `keep` positions of a batch, or of more."""
        if self._knob is None or self._prefix is None:
            return _logits(model, batch, keep)
        if not self._prefix.known(batch):
            self._knob.set(None)
            self._prefix.record(batch)
        self.strengthen(owners)
        with self._prefix.replayed(batch):
            return _logits(model, batch, keep)


def _logits(model: Any, batch: Batch, keep: int) -> Tensor:
    logits: Tensor = call(model, batch.ids, batch.mask, keep=keep).logits
    return logits
