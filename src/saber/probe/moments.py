"""Moments of activations: clipped outliers, and covariances from fewer prompts than channels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK_ELEMENTS = 2**22
"""Most values sorted at once by `winsorise` (16 MiB in float32; torch.quantile refuses 2**24)."""


def winsorise(x: Float[Tensor, "n d"], quantile: float) -> Float[Tensor, "n d"]:
    """Clips the values of each vector at the vector's own quantile of |value|.

    x'_ij = clamp(x_ij, -c_i, c_i) with c_i = quantile(|x_i|). A few massive channels, which carry position
    rather than meaning, otherwise dominate every mean and covariance.

    Args:
        x: Activation vectors, one a row.
        quantile: Share of channels that keep their value, in (0, 1]; 1 returns `x` itself.

    Returns:
        The clipped vectors, in the dtype of `x`.
    """
    if quantile >= 1.0 or x.numel() == 0:
        return x
    # float64 stays, everything narrower is sorted in float32: torch.quantile knows no half precision.
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    clipped = torch.empty_like(x)
    rows = max(1, CHUNK_ELEMENTS // x.shape[1])
    for start in range(0, x.shape[0], rows):
        chunk = x[start : start + rows].to(wide)
        limit = torch.quantile(chunk.abs(), quantile, dim=1, keepdim=True)
        clipped[start : start + rows] = chunk.clamp(-limit, limit).to(x.dtype)
    return clipped


def centred(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Subtracts the mean vector: x_i - mean_j x_j."""
    return x - x.mean(dim=0, keepdim=True)


def shrunk_covariance(deviations: Float[Tensor, "n r"], dimension: int) -> Float[Tensor, "r r"]:
    """Estimates a covariance with Ledoit-Wolf shrinkage in a space of which only a subspace is stored.

    Sigma = (1 - s) S + s m I, with S = X^T X / n, m = tr(S) / p, p = dimension,
    s = min(b, a) / a, a = tr(S^2)/p - m^2, b = (sum_i |x_i|^4 / n - tr(S^2)) / (p n).

    All terms are invariant under rotations and unchanged by zero channels, so coordinates in an orthonormal
    basis of the data's span (r <= n) give exactly the estimate in all `dimension` channels, restricted to
    that span. Using r for p instead would shrink towards a target that is dimension / r times too large.

    Args:
        deviations: Vectors X with their mean already subtracted, float64.
        dimension: Number of channels p of the full space, >= r.

    Returns:
        Sigma restricted to the stored coordinates. Zero if all deviations are zero.

    Source: Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices".
    """
    n = deviations.shape[0]
    sample = deviations.T @ deviations / n
    mean_eigenvalue = sample.diagonal().sum() / dimension
    sum_of_squares = (sample * sample).sum()
    distance = sum_of_squares / dimension - mean_eigenvalue**2
    fourth = deviations.square().sum(dim=1).square().sum()
    error = (fourth / n - sum_of_squares) / (dimension * n)
    # A multiple of the identity (distance 0) is its own target: any shrinkage gives the same matrix.
    share = float((error / distance).clamp(0.0, 1.0)) if float(distance) > 0.0 else 0.0
    shrunk = (1.0 - share) * sample
    shrunk.diagonal().add_(share * mean_eigenvalue)
    return shrunk
