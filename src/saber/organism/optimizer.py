"""Optimiser of the demo training: Muon for matrices, AdamW for embeddings and norm gains.

Muon (Jordan et al. 2024) replaces the momentum of a matrix by its nearest semi-orthogonal matrix, found with
a few Newton-Schulz steps. ``torch.optim.Muon`` computes them in bfloat16, which is slow on most CPUs; these
are float32, and matrices of one shape are done in one batch. Fused experts are one matrix an expert.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return (..., rows, columns) matrices with singular values pushed towards one."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon:
    """Momentum with orthogonalised steps for a set of matrices."""

    momentum = 0.95
    decay = 0.01

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float):
        """Group the matrices by shape; ``lr`` is the singular value of a step, weight decay is decoupled.

        A parameter with more than two axes is a stack of matrices.
        """
        self.lr = lr
        self.groups: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for matrix in matrices:
            self.groups[matrix.shape].append(matrix)
        self.buffers = {shape: torch.zeros(len(group), *shape) for shape, group in self.groups.items()}

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Take one step at ``lr * scale`` and clear the gradients."""
        for shape, group in self.groups.items():
            gradient = torch.stack([p.grad if p.grad is not None else torch.zeros_like(p) for p in group])
            buffer = self.buffers[shape].mul_(self.momentum).add_(gradient, alpha=1 - self.momentum)
            step = orthogonalise(gradient.lerp(buffer, self.momentum))
            size = self.lr * scale * max(1.0, shape[-2] / shape[-1]) ** 0.5
            for parameter, change in zip(group, step, strict=True):
                parameter.mul_(1 - self.lr * scale * self.decay).sub_(change, alpha=size)
                parameter.grad = None


class Optimizer:
    """Muon for the blocks' matrices and AdamW for the rest, under one schedule factor."""

    def __init__(self, model: nn.Module, matrix_lr: float, embedding_lr: float, gain_lr: float):
        """Sort the parameters: matrices of the blocks, embeddings and input projections, vectors."""
        named = list(model.named_parameters())
        vectors = [p for _, p in named if p.ndim == 1]
        tables = [p for n, p in named if p.ndim == 2 and ".layers." not in n]
        self.muon = Muon([p for n, p in named if p.ndim >= 2 and ".layers." in n], matrix_lr)
        self.rates = (embedding_lr, gain_lr)
        self.adam = torch.optim.AdamW(
            [{"params": tables, "lr": embedding_lr}, {"params": vectors, "lr": gain_lr}],
            betas=(0.9, 0.98),
            weight_decay=0.0,
        )
        self.parameters = [p for _, p in named]

    def step(self, scale: float) -> None:
        """Clip the gradient norm to one, update every parameter and clear the gradients."""
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group, rate in zip(self.adam.param_groups, self.rates, strict=True):
            group["lr"] = rate * scale
        self.adam.step()
        self.muon.step(scale)
        self.adam.zero_grad(set_to_none=True)
