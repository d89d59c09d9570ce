"""From ranked directions to a plan: which vectors leave which writers, and how strongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from saber.ablation.operator import PostNorm, orthonormal_additions
from saber.ablation.units import Unit
from saber.entanglement.purity import Entanglement, split_direction
from saber.spectrum.direction import Direction

Scope = Literal["layer", "window", "all"]
Part = Literal["whole", "pure", "entangled"]
Weights = Mapping[str, tuple[float, ...]]
"""By module, a factor for each planned vector."""


@dataclass(frozen=True)
class PlannedVector:
    """A unit vector that leaves the writers of its scope with strength alpha.

    Attributes:
        direction: The direction that it comes from.
        part: The whole direction, or its part outside (pure) or inside (entangled) the capability subspace.
        vector: Unit, orthogonal to every vector planned before in the same scope (d_model).
        alpha: Share of the component that is removed, 0 to 1.
        pass_index: Refinement pass.
        rho: Entanglement of the direction.
        purity: Purity of the direction.
    """

    direction: Direction
    part: Part
    vector: Float[Tensor, " d_model"]
    alpha: float
    pass_index: int
    rho: float
    purity: float


@dataclass(frozen=True)
class Skipped:
    """A ranked direction that the plan leaves alone, and why."""

    direction: Direction
    pass_index: int
    rho: float
    purity: float
    reason: str


@dataclass(frozen=True)
class EditPlan:
    """What to remove from where.

    Attributes:
        vectors: In the order in which they were planned.
        skipped: Directions that were ranked but not used.
        scope: Writers that lose a vector: of its own layer, of the window, of all layers (with the embeddings, where
            their kind is edited).
        window: Layers of the depth window.
        n_layers: Number of blocks.
        kinds: Kinds of writers that are edited.
        post_norm: Solution behind post-norms.
        ridge: c of the ridge solution.
        scale: Common factor on all strengths, or how far along the path they stand (line search).
        weights: By module, a further factor for each vector; modules that are not named have 1.
        path: Weights from the faintest to the strongest edit (functional strengths); empty where there is no path.
    """

    vectors: tuple[PlannedVector, ...]
    skipped: tuple[Skipped, ...]
    scope: Scope
    window: tuple[int, ...]
    n_layers: int
    kinds: tuple[str, ...]
    post_norm: PostNorm
    ridge: float
    scale: float = 1.0
    weights: Weights = field(default_factory=dict)
    path: tuple[Weights, ...] = ()

    def places(self, layer: int | None) -> tuple[int, ...]:
        """Places of the vectors that leave the writers of a layer (None: of the stream's first value)."""
        if self.scope == "layer":
            return tuple(i for i, v in enumerate(self.vectors) if v.direction.layer == layer)
        edited = self.scope == "all" or layer in self.window
        return tuple(range(len(self.vectors))) if edited else ()

    def at(self, layer: int | None) -> tuple[PlannedVector, ...]:
        """The vectors at `places`."""
        return tuple(self.vectors[place] for place in self.places(layer))

    def basis(self, layer: int | None) -> Float[Tensor, "d_model r"] | None:
        """Orthonormal columns already planned for a layer; None where there are none."""
        vectors = self.at(layer)
        return torch.stack([v.vector for v in vectors], dim=1) if vectors else None

    def removed(self) -> dict[int, Float[Tensor, "r d_model"]]:
        """Per layer, what refinement must find new directions orthogonal to."""
        bases = {layer: self.basis(layer) for layer in range(self.n_layers)}
        return {layer: basis.T for layer, basis in bases.items() if basis is not None}

    def strengths(self, units: Sequence[Unit]) -> Float[Tensor, " n"]:
        """Strength of every unit, at most 1."""
        scale = 1.0 if self.path else self.scale
        found = []
        for unit in units:
            own = self.weights.get(unit.module)
            weight = 1.0 if own is None else own[unit.vector]
            found.append(min(1.0, self.vectors[unit.vector].alpha * scale * weight))
        return torch.tensor(found)

    def most(self, units: Sequence[Unit]) -> Float[Tensor, " n"]:
        """Largest strength of every unit, float64."""
        return torch.tensor([self.vectors[unit.vector].alpha for unit in units], dtype=torch.float64)

    def on_path(self, units: Sequence[Unit], points: Sequence[Float[Tensor, " n"]]) -> EditPlan:
        """The plan at the last of some strengths, each a share of the vectors' own; `scaled` then moves along them."""
        most = self.most(units)
        path = tuple(self._weights(units, alpha / most) for alpha in points)
        return replace(self, scale=1.0, weights=path[-1], path=path)

    def _weights(self, units: Sequence[Unit], share: Tensor) -> Weights:
        rows: dict[str, list[float]] = {}
        for unit, value in zip(units, share.tolist(), strict=True):
            rows.setdefault(unit.module, [0.0] * len(self.vectors))[unit.vector] = value
        return {module: tuple(row) for module, row in rows.items()}

    def scaled(self, scale: float) -> EditPlan:
        """The same plan with all strengths multiplied by `scale`, or as far along its path (0 to 1)."""
        if not self.path:
            return replace(self, scale=scale)
        place = min(max(scale, 0.0), 1.0) * len(self.path)
        above = min(int(place), len(self.path) - 1)
        share = place - above
        high = self.path[above]
        low = self.path[above - 1] if above else {module: (0.0,) * len(row) for module, row in high.items()}
        weights = {
            module: tuple(a + share * (b - a) for a, b in zip(low[module], row, strict=True))
            for module, row in high.items()
        }
        return replace(self, scale=scale, weights=weights)

    def weakened(self, pass_index: int, scale: float) -> EditPlan:
        """The same plan with the strengths of one pass multiplied by `scale`."""
        vectors = tuple(
            replace(v, alpha=v.alpha * scale) if v.pass_index == pass_index else v for v in self.vectors
        )
        return replace(self, vectors=vectors)

    @property
    def n_directions(self) -> int:
        """Directions that are removed, wholly or in part."""
        return len({(v.pass_index, v.direction.name) for v in self.vectors})


def extend(
    plan: EditPlan,
    ranked: Sequence[Direction],
    entanglement: Mapping[str, Entanglement],
    subspaces: Mapping[int, Float[Tensor, "d_model k"]],
    *,
    alpha_base: float,
    alpha_entangled: float,
    threshold: float,
    purity_scaling: bool,
    pass_index: int,
) -> EditPlan:
    """Add directions to a plan, best first (published SABER's strengths, METHOD section 4).

    `alpha = alpha_base * purity` for the part outside the capability subspace, `alpha_entangled` for the part inside;
    directions with `rho > threshold` are skipped. Without `purity_scaling` the whole direction gets `alpha_base`.
    """
    for direction in ranked:
        measured = entanglement[direction.name]
        if measured.rho > threshold:
            reason = f"rho {measured.rho:.2f} > threshold {threshold:.2f}"
            plan = _skip(plan, direction, measured, pass_index, reason)
            continue
        if purity_scaling:
            pure, _, entangled, _ = split_direction(direction.vector, subspaces[direction.layer])
            parts: list[tuple[Part, Tensor | None, float]] = [
                ("pure", pure, alpha_base * measured.purity),
                ("entangled", entangled, alpha_entangled),
            ]
        else:
            parts = [("whole", direction.vector, alpha_base)]
        before = len(plan.vectors)
        for part, vector, alpha in parts:
            if vector is not None and alpha > 0:
                plan = _add(plan, direction, part, vector, alpha, measured, pass_index)
        if len(plan.vectors) == before:
            plan = _skip(plan, direction, measured, pass_index, "already removed, or strength 0")
    return plan


def _add(
    plan: EditPlan,
    direction: Direction,
    part: Part,
    vector: Tensor,
    alpha: float,
    measured: Entanglement,
    pass_index: int,
) -> EditPlan:
    new, kept = orthonormal_additions(plan.basis(direction.layer), vector[:, None])
    if not kept:
        return plan
    planned = PlannedVector(direction, part, new[:, 0], alpha, pass_index, measured.rho, measured.purity)
    return replace(plan, vectors=(*plan.vectors, planned))


def _skip(
    plan: EditPlan, direction: Direction, measured: Entanglement, pass_index: int, reason: str
) -> EditPlan:
    row = Skipped(direction, pass_index, measured.rho, measured.purity, reason)
    return replace(plan, skipped=(*plan.skipped, row))
