"""The capability subspace: where the activations of ordinary tasks vary most."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saber.errors import ProbeError

SINK_FACTOR = 50.0
"""A channel is a sink if its mean |value| exceeds this many times the median channel's."""
RANK_TOLERANCE = 1e-6
"""Principal components with a smaller share of the largest standard deviation are rounding."""


def sink_channels(activations: Float[Tensor, "n d"]) -> Bool[Tensor, " d"]:
    """Marks channels with massive activations: mean_i |x_ij| > 50 median_j mean_i |x_ij|.

    Such channels (a handful in any model) act as biases for attention. Their size says nothing about
    capability, but they would be the leading principal components. The median is robust: no handful of
    channels can move it. Where most channels are zero there is no such thing as a typical channel, and none
    is marked.

    Source: Sun et al. 2024, "Massive activations in large language models" (arXiv 2402.17762).
    """
    size = activations.abs().mean(dim=0)
    typical = size.median()
    return (size > SINK_FACTOR * typical) & (typical > 0)


def capability_subspace(
    capability: Float[Tensor, "n d"], rank: int
) -> tuple[Float[Tensor, "d k"], Float[Tensor, " k"]]:
    """Leading principal components of the centred capability activations, without sink channels.

    Args:
        capability: Activations of capability prompts.
        rank: Most components; there are fewer if the activations have a lower rank.

    Returns:
        Orthonormal columns U (zero in the sink channels), float64 on the CPU, and the variances along them.

    Raises:
        ProbeError: Fewer than 2 prompts.
    """
    require_two(capability)
    wide = capability.to("cpu", torch.float64)
    deviations = wide - wide.mean(dim=0, keepdim=True)
    deviations[:, sink_channels(wide)] = 0.0
    _, strengths, rows = torch.linalg.svd(deviations, full_matrices=False)
    # Centring leaves rounding of the size of the mean: a constant role has rank 0, not 1.
    floor = max(RANK_TOLERANCE * float(strengths.max()), 1e-12 * float(wide.norm()))
    k = min(rank, int((strengths > floor).sum()))
    return rows[:k].T.contiguous(), strengths[:k].square() / (len(wide) - 1)


def geometric_overlap(direction: Float[Tensor, " d"], subspace: Float[Tensor, "d k"]) -> float:
    """Share of a unit direction that lies in the subspace: rho = |U^T d|^2, 0-1."""
    inside = subspace.T @ direction.to("cpu", subspace.dtype)
    return min(1.0, float(inside.square().sum()))


def random_overlap(k: int, d_model: int) -> float:
    """Expected overlap of a uniformly random unit vector with k dimensions out of d_model: k / d_model."""
    return k / d_model


def require_two(capability: Float[Tensor, "n d"]) -> None:
    """Raises `ProbeError` for fewer than 2 capability prompts, which have no variance."""
    if len(capability) < 2:
        raise ProbeError(
            f"{len(capability)} capability prompts are left, but their variance needs at least 2.",
            hint="Raise prompts.n_capability.",
        )
