"""How much of a direction is capability, and the direction's two parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from saber.entanglement.subspace import (
    capability_subspace,
    geometric_overlap,
    random_overlap,
    require_two,
)
from saber.spectrum.direction import Direction

Measure = Literal["geometric", "variance"]

MIN_PART = 1e-6
"""Parts of a direction shorter than this have no meaningful orientation."""


@dataclass(frozen=True)
class Entanglement:
    """How much of one direction is capability."""

    name: str
    """The direction's name, such as "L12.0"."""
    rho: float
    """Entangled share, 0-1."""
    purity: float
    """1 - rho."""
    random_rho: float | None
    """What `rho` is for a random direction of this layer: entanglement is what exceeds it; None where not measured."""
    measure: Measure | Literal["functional"]
    """How `rho` was measured."""


def measure_entanglement(
    directions: Iterable[Direction],
    capability: Float[Tensor, "n_c layer d"],
    harmful: Float[Tensor, "n_h layer d"],
    harmless: Float[Tensor, "n_s layer d"],
    *,
    measure: Measure,
    rank: int,
    kappa: float,
) -> Mapping[str, Entanglement]:
    """Measures how much of each direction is capability.

    - geometric: rho = |U_C^T d|^2, with U_C the leading `rank` principal components of the capability
      activations. Published SABER's definition; a random direction has k / d_model.
    - variance: purity = delta^2 / (delta^2 + kappa d^T Sigma_C d), delta = d^T (mu_H - mu_S): separation
      gained against capability variance lost. A random direction has, as a ratio of expectations,
      rho = kappa tr(Sigma_C) / (|mu_H - mu_S|^2 + kappa tr(Sigma_C)).

    Args:
        directions: Directions; `layer` is the index on axis 1 of the activations, d their `vector`.
        capability: Activations of capability prompts, at least 2.
        harmful: Activations of harmful prompts (variance only).
        harmless: Activations of harmless prompts (variance only).
        measure: Which of the two.
        rank: Dimensions of the capability subspace (geometric only).
        kappa: Weight of the capability variance (variance only).

    Returns:
        One record a direction, by its name, in the order given.

    Raises:
        ProbeError: Fewer than 2 capability prompts.
    """
    by_layer: dict[int, list[Direction]] = {}
    ordered = list(directions)
    for direction in ordered:
        by_layer.setdefault(direction.layer, []).append(direction)
    found: dict[str, Entanglement] = {}
    for layer, members in by_layer.items():
        if measure == "geometric":
            found |= _geometric(members, capability[:, layer], rank)
        else:
            found |= _variance(members, capability[:, layer], harmful[:, layer], harmless[:, layer], kappa)
    return {direction.name: found[direction.name] for direction in ordered}


def split_direction(
    direction: Float[Tensor, " d"], subspace: Float[Tensor, "d k"]
) -> tuple[Float[Tensor, " d"] | None, float, Float[Tensor, " d"] | None, float]:
    """Splits a unit direction into its parts outside and inside the capability subspace.

    d = pure_norm pure + entangled_norm entangled, entangled part U U^T d; pure^T U = 0 and the squared
    norms sum to 1.

    Returns:
        (pure unit vector, its norm before scaling, entangled unit vector, its norm), in the direction's
        dtype; a part shorter than 1e-6 is None.
    """
    wide, basis = direction.to("cpu", torch.float64), subspace.to("cpu", torch.float64)
    inside = basis @ (basis.T @ wide)
    outside = wide - inside
    # Once more: where almost all of the direction lies inside, rounding of that part would tilt the pure one.
    outside = outside - basis @ (basis.T @ outside)
    parts: list[tuple[Tensor | None, float]] = []
    for part in (outside, inside):
        norm = float(part.norm())
        unit = (part / norm).to(direction.device, direction.dtype) if norm >= MIN_PART else None
        parts.append((unit, norm))
    (pure, pure_norm), (entangled, entangled_norm) = parts
    return pure, pure_norm, entangled, entangled_norm


def _geometric(
    directions: list[Direction], capability: Float[Tensor, "n_c d"], rank: int
) -> dict[str, Entanglement]:
    """Overlap with the capability subspace of one layer."""
    subspace, variances = capability_subspace(capability, rank)
    chance = random_overlap(len(variances), capability.shape[1])
    found: dict[str, Entanglement] = {}
    for direction in directions:
        rho = geometric_overlap(direction.vector, subspace)
        found[direction.name] = Entanglement(direction.name, rho, 1.0 - rho, chance, "geometric")
    return found


def _variance(
    directions: list[Direction],
    capability: Float[Tensor, "n_c d"],
    harmful: Float[Tensor, "n_h d"],
    harmless: Float[Tensor, "n_s d"],
    kappa: float,
) -> dict[str, Entanglement]:
    """Separation against capability variance, in one layer; Sigma_C is never formed, only projected."""
    c, h, s = (x.to("cpu", torch.float64) for x in (capability, harmful, harmless))
    require_two(c)
    shift = h.mean(dim=0) - s.mean(dim=0)
    deviations = c - c.mean(dim=0, keepdim=True)
    total = deviations.square().sum() / (len(c) - 1)
    chance = _share(kappa * total, shift.square().sum())
    found: dict[str, Entanglement] = {}
    for direction in directions:
        d = direction.vector.to("cpu", torch.float64)
        spread = (deviations @ d).square().sum() / (len(c) - 1)
        rho = _share(kappa * spread, (d @ shift).square())
        found[direction.name] = Entanglement(direction.name, rho, 1.0 - rho, chance, "variance")
    return found


def _share(part: Tensor, rest: Tensor) -> float:
    """Share part / (part + rest); 1 if both are zero: what separates nothing is worth no damage."""
    whole = float(part + rest)
    return float(part) / whole if whole > 0.0 else 1.0
