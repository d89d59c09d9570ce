"""The test that decides whether a parameter writes to the stream: is its Jacobian a diagonal plus a low rank?

With M[i, j] = d out_i / d W[.., j, ..], the other axes of W contracted with random numbers,

    M = s * diag(g) + (low rank)

exactly if what W makes along this axis is added to the stream, coordinate by coordinate: g = 1 for a plain linear
writer, g = the gain of a norm behind it (whose low rank part, one n n^T for each norm, takes the length away). What
only reads the stream has no diagonal along its input axis, and everything else is dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

LARGEST_RANK = 8
"""Low rank still taken for norms: a norm has rank 1, a LayerNorm 2, and no model has more than two in series."""
_NOISE = 1e-6
"""Singular values below this share of the Jacobian are rounding (fp32)."""
_MISFIT = 0.05
"""Largest share of the Jacobian outside of diagonal plus low rank. Measured on the zoo: writers up to 0.002 (paths
through the rest of the block, switched off to 1/SCALE), everything else from 0.85."""
_LEAST_DIAGONAL = 1e-3
"""Least share of the diagonal in the Jacobian; a reader's vanishes up to rounding."""
_LEAST_LEFT = 0.05
"""Least share of the sampled columns that the low rank does not explain; a reader's are explained entirely."""
_ROW_SUMS = 1e-2
"""Row sums of a Jacobian behind a mean-subtracting norm, as a share of it: zero up to the other paths."""
_LARGER = 1.5
"""How much larger than the rest a diagonal makes a parameter worth the whole test; by chance it is about as large."""
_UNLIKELY = 3.0
"""Standard deviations of the diagonal's sum that make a parameter worth the whole test."""
_NO_ACCIDENT = 6.0
"""Standard deviations by which the diagonal of a dense Jacobian must stand out."""
_ONE_SIGN = 0.5
"""Least squared mean over mean square of such a diagonal: gains are mostly of one sign, accidents are not."""


@dataclass(frozen=True)
class Diagonal:
    """The diagonal of a Jacobian at the sampled coordinates, scaled to unit length.

    Attributes:
        values: g at the sampled coordinates, unit length.
        centred: Rows sum to zero: a mean-subtracting norm stands behind the parameter.
        change: Largest distance of the unit diagonals at two places. That of a writer is the same everywhere; that of a
            norm's weight, or of what a gate scales, is not.
    """

    values: Float[Tensor, " rows"]
    centred: bool
    change: float = 0.0


def may_write(jacobian: Float[Tensor, "rows d_model"], rows: Int[Tensor, " rows"]) -> bool:
    """A quick look at a few rows: is the diagonal larger than the rest, or nothing there at all?

    True for every writer and for the norms behind it; most readers of the stream drop out here.
    """
    diagonal, spread = _diagonal_and_spread(jacobian, rows)
    size, total = diagonal.square().mean().sqrt(), diagonal.sum().abs()
    return bool(size >= _LARGER * spread or total >= _UNLIKELY * spread * len(rows) ** 0.5)


def agreed_diagonal(
    jacobians: Float[Tensor, "places rows d_model"], rows: Int[Tensor, " rows"]
) -> Diagonal | None:
    """The diagonal on which most places with a signal agree; None if the parameter does not write.

    Places are tested one by one: sums over places can cancel.
    """
    live = _live(jacobians)
    parts = [part for jacobian in live if (part := diagonal_part(jacobian, rows)) is not None]
    if not parts or 2 * len(parts) < len(live):
        return None
    change = max((_distance(parts[0].values, part.values) for part in parts[1:]), default=0.0)
    return Diagonal(_mean(parts), all(part.centred for part in parts), change)


def stands_out(jacobians: Float[Tensor, "places rows d_model"], rows: Int[Tensor, " rows"]) -> bool:
    """Whether the diagonal is no accident although the rest is neither small nor of low rank.

    The sum of a diagonal of independent entries has a standard deviation of sqrt(rows) entries; at most places with a
    signal it must exceed that many times over, and mostly have one sign (a norm's own weight has both).
    """
    votes = [_no_accident(jacobian, rows) for jacobian in _live(jacobians)]
    return any(votes) and 2 * sum(votes) >= len(votes)


def _no_accident(jacobian: Float[Tensor, "rows d_model"], rows: Int[Tensor, " rows"]) -> bool:
    diagonal, spread = _diagonal_and_spread(jacobian, rows)
    one_sign = diagonal.mean().square() / diagonal.square().mean()
    return bool(diagonal.sum().abs() > _NO_ACCIDENT * spread * len(rows) ** 0.5 and one_sign > _ONE_SIGN)


def _diagonal_and_spread(
    jacobian: Float[Tensor, "rows d_model"], rows: Int[Tensor, " rows"]
) -> tuple[Float[Tensor, " rows"], Float[Tensor, ""]]:
    """The diagonal, and the root mean square of everything else."""
    diagonal = jacobian[torch.arange(len(rows)), rows]
    others = jacobian.clone()
    others[torch.arange(len(rows)), rows] = 0
    return diagonal, (others.square().sum() / (jacobian.numel() - len(rows))).sqrt()


def diagonal_part(jacobian: Float[Tensor, "rows d_model"], rows: Int[Tensor, " rows"]) -> Diagonal | None:
    """Split rows of a Jacobian into a diagonal and a low rank; None if they are not of that form.

    The columns outside of `rows` hold the low rank part alone: its column space is read there and projected out of the
    sampled columns, where the diagonal is then fitted by least squares.
    """
    M = jacobian.double()
    size = torch.linalg.matrix_norm(M)
    others = torch.ones(M.shape[1], dtype=torch.bool)
    others[rows] = False
    U, S, _ = torch.linalg.svd(M[:, others], full_matrices=False)
    rank = int((S[:LARGEST_RANK] > _NOISE * size).sum())
    if torch.linalg.vector_norm(S[rank:]) > _MISFIT * size:
        return None
    outside = torch.eye(len(rows), dtype=M.dtype) - U[:, :rank] @ U[:, :rank].T
    sampled = M[:, rows]
    left = outside @ sampled
    # Column j of `left` should be g_j times column j of the projection.
    values = (outside * left).sum(0) / (outside * outside).sum(0).clamp_min(1e-12)
    misfit = torch.linalg.matrix_norm(left - outside * values)
    norm_left = torch.linalg.matrix_norm(left)
    if (
        norm_left < _LEAST_LEFT * torch.linalg.matrix_norm(sampled)
        or misfit > _MISFIT * norm_left
        or torch.linalg.vector_norm(values) < _LEAST_DIAGONAL * size
    ):
        return None
    row_sums = torch.linalg.vector_norm(M.sum(1))
    return Diagonal(values / torch.linalg.vector_norm(values), bool(row_sums < _ROW_SUMS * size))


def _live(jacobians: Float[Tensor, "places rows d_model"]) -> list[Float[Tensor, "rows d_model"]]:
    return [jacobian for jacobian in jacobians if jacobian.abs().max() > 0]


def _mean(parts: Sequence[Diagonal]) -> Float[Tensor, " rows"]:
    """Mean of unit diagonals of one direction, whatever their signs."""
    first = parts[0].values
    mean = torch.stack([part.values * torch.sign(first @ part.values) for part in parts]).mean(0)
    unit: Tensor = mean / torch.linalg.vector_norm(mean)
    return unit


def _distance(one: Float[Tensor, " rows"], other: Float[Tensor, " rows"]) -> float:
    return float(torch.linalg.vector_norm(one - torch.sign(one @ other) * other))
