"""KL of many candidates from one base: what depends on the base alone is computed once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from saber.evaluation.drift import token_kl

_CPU_VALUES = 1 << 18
"""Logits at a time on a CPU: what fits in its cache takes half the time."""
_DEVICE_VALUES = 1 << 26
_SMALLEST = 1e-30
"""Below it fp32 has too few digits left."""


def candidates_kl(
    base: Float[Tensor, "tokens vocab"], edited: Float[Tensor, "candidates tokens vocab"]
) -> Float[Tensor, "candidates tokens"]:
    """KL(base || candidate) of each token in nats, fp32: the numbers of `token_kl`, to 1e-5.

    With `p` the base's probabilities and `d` the change of the logits, `KL = log sum_v p_v exp(d_v) - sum_v p_v d_v`:
    one exponential for each logit, and no small difference of large numbers. Where the sum leaves fp32's range, or a
    logit is -inf, `token_kl` itself is asked.
    """
    before = base.float()
    p = before.softmax(-1)
    at_once = _CPU_VALUES if base.device.type == "cpu" else _DEVICE_VALUES
    found = []
    for part in edited.split(max(1, at_once // max(1, before.numel()))):
        d = part.float() - before
        mean = (d * p).sum(-1)
        total = d.exp_().mul_(p).sum(-1)
        found.append((total.masked_fill(total < _SMALLEST, torch.nan).log_() - mean).clamp_min_(0.0))
    kl = torch.cat(found)
    for candidate in (~kl.isfinite()).any(-1).nonzero()[:, 0].tolist():
        kl[candidate] = token_kl(base, edited[candidate])
    return kl
