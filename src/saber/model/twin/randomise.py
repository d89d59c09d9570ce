"""Random weights without the symmetries of an initialisation: no unit gain, no zero bias, no closed gate."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

LAYER_SCALAR = 0.7
_HUGE = 1e4
"""No initialisation is larger; what is was left uninitialised."""


def randomise(model: nn.Module, seed: int) -> None:
    """Add noise to every parameter in place, deterministically.

    Matrices get 0.05 N(0, 1), biases 0.02 N, vectors (gains of norms, decay rates) 0.3 N. A zero that stands for a
    closed gate or an unused correction opens to about one half. Buffers that scale the stream (Gemma 4) become 0.7.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.is_floating_point():
                _perturb(name, parameter, generator)
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.fill_(LAYER_SCALAR)
            elif buffer.is_floating_point():
                buffer.nan_to_num_(nan=0.0, posinf=torch.inf, neginf=-torch.inf)


def _perturb(name: str, parameter: Tensor, generator: torch.Generator) -> None:
    noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    if not bool(parameter.abs().max() < _HUGE):
        parameter.zero_()
    leaf = name.rpartition(".")[2]
    if "bias" in leaf:
        parameter.add_(noise, alpha=0.02)
    elif parameter.ndim > 1 and parameter.numel() > parameter.shape[-1]:
        parameter.add_(noise, alpha=0.05)
    elif not re.search(r"norm|ln_|layernorm", name.lower()) and not bool(parameter.any()):
        parameter.copy_(0.5 + 0.1 * noise)
    else:
        parameter.add_(noise, alpha=0.3)
