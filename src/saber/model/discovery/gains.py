"""Which norms explain the diagonal of a writer's Jacobian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

OFFSETS = (0.0, 1.0)
"""Conventions in use: a gain is `weight`, or `1 + weight` (Gemma 1-3, Qwen3-Next)."""
_FLAT = 2e-3
"""A diagonal this close to a constant has no gain; a twin's gains vary by a third."""
_EXPLAINED = 0.02
"""Largest distance to the product of norms that explains a diagonal. Measured on the zoo: right products up to 0.006
(in a block that other paths disturb; 1e-3 elsewhere), wrong ones from 0.06."""


@dataclass(frozen=True)
class Explanation:
    """Named gains whose product is nearest to a diagonal, and how far off it is (unit vectors' distance)."""

    gains: tuple[tuple[str, float], ...]
    error: float

    @property
    def holds(self) -> bool:
        """Whether the diagonal is explained."""
        return self.error <= _EXPLAINED


def explain(
    diagonal: Float[Tensor, " rows"], vectors: Mapping[str, Tensor], rows: Int[Tensor, " rows"]
) -> Explanation:
    """Explain a diagonal by no gain, one gain, or a product of two, in the order of `vectors`.

    Args:
        diagonal: Unit diagonal at the sampled coordinates.
        vectors: Candidates by name: every parameter with d_model numbers.
        rows: The sampled coordinates.
    """
    flat = Explanation((), _off(diagonal, torch.ones_like(diagonal)))
    if flat.error < _FLAT:
        return Explanation((), 0.0)
    single = [
        ((name, offset), offset + vector.detach().flatten()[rows].to(diagonal))
        for name, vector in vectors.items()
        for offset in OFFSETS
    ]
    best = min(
        (flat, *(Explanation((gain,), _off(diagonal, values)) for gain, values in single)),
        key=lambda explanation: explanation.error,
    )
    if best.holds:
        return best
    double = (
        Explanation((first, second), _off(diagonal, one * other))
        for i, (first, one) in enumerate(single)
        for second, other in single[i + 1 :]
        if first[0] != second[0]
    )
    return min((best, *double), key=lambda explanation: explanation.error)


def _off(diagonal: Float[Tensor, " rows"], candidate: Float[Tensor, " rows"]) -> float:
    """Distance of two directions, whatever their signs; 2 for a candidate that is zero."""
    length = torch.linalg.vector_norm(candidate)
    if not length > 0:
        return 2.0
    unit = candidate / length
    return float(torch.minimum((diagonal - unit).norm(), (diagonal + unit).norm()))
