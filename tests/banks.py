"""Banks of units of random directions, for any model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from saber.ablation.compiler import Compiler
from saber.ablation.plan import EditPlan, PlannedVector
from saber.ablation.units import UnitBank
from saber.model.anatomy import Anatomy
from saber.spectrum.direction import Direction

INSIDE = ("attention", "mlp", "experts", "per_layer", "bias")
"""Writers of blocks: logits answer to them more smoothly than to a tiny model's embeddings."""


def random_plan(anatomy: Anatomy, n: int = 2, seed: int = 7, **changes: Any) -> EditPlan:
    """Orthonormal random vectors that leave every writer of every layer, embeddings included."""
    drawn = torch.randn(anatomy.d_model, n, generator=torch.Generator().manual_seed(seed))
    basis = torch.linalg.qr(drawn.double())[0].float()
    kinds = tuple(sorted({writer.kind for writer in anatomy.writers}))
    plan = EditPlan((), (), "all", tuple(range(anatomy.n_layers)), anatomy.n_layers, kinds, "ridge", 0.03)
    return replace(plan, vectors=tuple(planned(column, i) for i, column in enumerate(basis.T)), **changes)


def planned(vector: Tensor, component: int, alpha: float = 1.0) -> PlannedVector:
    """A planned vector of block 1."""
    found = Direction(1, component, vector, vector, fdr=2.0, fdr_in_sample=2.0, null=0.1, stability=1.0)
    return PlannedVector(found, "whole", vector, alpha, 0, 0.0, 1.0)


def bank_of(model: nn.Module, anatomy: Anatomy, n: int = 2, **changes: Any) -> UnitBank:
    """The units of `random_plan`."""
    return Compiler(model, anatomy).bank(random_plan(anatomy, n, **changes))
