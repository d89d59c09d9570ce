"""The span of the data: all candidates lie in it, and it has at most as many dimensions as prompts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

MAX_RANK = 256
"""Most dimensions in which matrices of the size of the span are factorised."""
RANK_TOLERANCE = 1e-9
"""Singular values below this share of the largest are rounding (activations carry 7 digits at most)."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """Activations in coordinates of an orthonormal basis of their span, float64 on the CPU."""

    basis: Float[Tensor, "d r"]
    """Orthonormal columns, strongest principal component first."""
    harmful: Float[Tensor, "n_h r"]
    """Coordinates of the harmful activations."""
    harmless: Float[Tensor, "n_s r"]
    """Coordinates of the harmless activations."""
    capability: Float[Tensor, "n_c r"] | None
    """Coordinates of the capability activations."""

    @property
    def dimension(self) -> int:
        """Channels of the full space, d."""
        return int(self.basis.shape[0])

    def lift(self, coordinates: Float[Tensor, "k r"]) -> Float[Tensor, "k d"]:
        """Returns vectors of the full space for rows of coordinates; lengths and angles are kept."""
        return coordinates @ self.basis.T


def reduce(
    harmful: Float[Tensor, "n_h d"],
    harmless: Float[Tensor, "n_s d"],
    capability: Float[Tensor, "n_c d"] | None = None,
    max_rank: int | None = MAX_RANK,
) -> Reduced:
    """Expresses the activations in an orthonormal basis of their common span.

    The basis is V of the thin singular value decomposition of all vectors stacked (uncentred, so that the
    means lie in the span). It looks at no labels: folds, permutations and bootstraps of the coordinates
    leak nothing through it.

    Args:
        harmful: Activations of harmful prompts.
        harmless: Activations of harmless prompts.
        capability: Activations of capability prompts, where the method uses them.
        max_rank: Most basis vectors; with more prompts than this the weakest principal components are
            dropped, and with None the span is exact.

    Returns:
        Basis and coordinates; rank 0 if all activations are zero.
    """
    parts = [harmful, harmless] + ([] if capability is None else [capability])
    stacked = torch.cat([part.to("cpu", torch.float64) for part in parts])
    _, strengths, rows = torch.linalg.svd(stacked, full_matrices=False)
    rank = int((strengths > RANK_TOLERANCE * strengths.max()).sum())
    rows = fixed_signs(rows[: rank if max_rank is None else min(rank, max_rank)])
    coordinates = (stacked @ rows.T).split([len(part) for part in parts])
    return Reduced(rows.T, coordinates[0], coordinates[1], None if capability is None else coordinates[2])


def project_off(x: Float[Tensor, "n d"], removed: Float[Tensor, "r d"]) -> Float[Tensor, "n d"]:
    """Removes from each row of `x` its part in the span of `removed`: x - (x Q^T) Q, in float64.

    Args:
        x: Vectors, one a row.
        removed: Directions, one a row. They are orthonormalised again (Q): stored vectors carry float32
            rounding.
    """
    wide, span = x.to("cpu", torch.float64), removed.to("cpu", torch.float64)
    if span.shape[0] == 0:
        return wide
    _, strengths, rows = torch.linalg.svd(span, full_matrices=False)
    rows = rows[strengths > 1e-5 * strengths.max()]
    # Twice: one pass leaves rounding of the size of the removed part, which can be the far larger one.
    for _ in range(2):
        wide = wide - (wide @ rows.T) @ rows
    return wide


def fixed_signs(rows: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
    """Flips rows so that each one's entry of largest magnitude is positive."""
    if rows.numel() == 0:
        return rows
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    return torch.where(largest < 0, -rows, rows)
