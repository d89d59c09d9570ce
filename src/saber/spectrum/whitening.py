"""Linear algebra in a noise metric: a root of the noise, and what stands out most from it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

FLOOR = 1e-6
"""Ridge of a noise metric relative to its mean eigenvalue; inverts it where the data does not vary."""
MIN_EIGENVALUE = 1e-10
"""Components whose share of the strongest one's energy is lower are rounding (1e-5 in amplitude)."""


def noise_root(noise: Float[Tensor, "d d"], signal: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """Computes the Cholesky factor L of noise + ridge I, ridge = FLOOR (tr noise + E|signal|^2) / d.

    Shrinkage alone can leave a singular matrix: two prompts, or a class that never varies.
    """
    level = float(noise.diagonal().sum() + signal.square().sum(dim=1).mean()) / len(noise)
    root: Tensor = torch.linalg.cholesky(noise + FLOOR * level * torch.eye(len(noise), dtype=noise.dtype))
    return root


def leading_pairs(
    rows: Float[Tensor, "n d"], root: Float[Tensor, "d d"] | None, k: int
) -> tuple[Float[Tensor, "j d"], Float[Tensor, "j d"]]:
    """Computes patterns L w and filters L^-T w, w the leading right singular vectors of rows L^-T.

    Without a root L is the identity. The singular vectors come from the smaller Gram matrix, which is several
    times faster than a singular value decomposition; components too weak for its precision are dropped with
    MIN_EIGENVALUE.
    """
    white = rows if root is None else torch.linalg.solve_triangular(root, rows.T, upper=False).T
    n, d = white.shape
    values, vectors = torch.linalg.eigh(white @ white.T if n < d else white.T @ white)
    values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k]
    kept = values > MIN_EIGENVALUE * values[:1]
    values, vectors = values[kept], vectors[:, kept]
    w = (white.T @ vectors / values.sqrt()).T if n < d else vectors.T
    if root is None:
        return w, w
    return w @ root.T, torch.linalg.solve_triangular(root.T, w.T, upper=True).T
