"""From ranked directions to a plan: which vectors leave which writers, and how strongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saber.ablation.apply import digest, writers_hash
from saber.ablation.edit import EditSet, LowRankEdit
from saber.ablation.operator import (
    Operator,
    PostNorm,
    ablation_operator,
    orthonormal_additions,
    written_directions,
)
from saber.entanglement.purity import Entanglement, split_direction
from saber.errors import EditError
from saber.model.anatomy import Anatomy, Writer, effective_gain, residual_first
from saber.model.weights import read_weight
from saber.spectrum.direction import Direction

Scope = Literal["layer", "window", "all"]
Part = Literal["whole", "pure", "entangled"]


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
        scale: Common factor on all strengths (line search).
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

    def at(self, layer: int | None) -> tuple[PlannedVector, ...]:
        """Vectors that leave the writers of a layer (None: of the stream's first value)."""
        if self.scope == "layer":
            return tuple(v for v in self.vectors if v.direction.layer == layer)
        edited = self.scope == "all" or layer in self.window
        return self.vectors if edited else ()

    def basis(self, layer: int | None) -> Float[Tensor, "d_model r"] | None:
        """Orthonormal columns already planned for a layer; None where there are none."""
        vectors = self.at(layer)
        return torch.stack([v.vector for v in vectors], dim=1) if vectors else None

    def removed(self) -> dict[int, Float[Tensor, "r d_model"]]:
        """Per layer, what refinement must find new directions orthogonal to."""
        bases = {layer: self.basis(layer) for layer in range(self.n_layers)}
        return {layer: basis.T for layer, basis in bases.items() if basis is not None}

    def scaled(self, scale: float) -> EditPlan:
        """The same plan with all strengths multiplied by `scale`."""
        return replace(self, scale=scale)

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


class Compiler:
    """Compiles plans into edits of one base model; gains and weight hashes are computed once.

    Attributes:
        routed: By module of fused experts, those that are edited; modules that are not named: all.
    """

    def __init__(
        self, model: nn.Module, anatomy: Anatomy, routed: Mapping[str, tuple[int, ...]] | None = None
    ) -> None:
        self._model = model
        self._anatomy = anatomy
        self.routed = routed or {}
        self._gains: dict[str, Tensor | None] = {}
        self._digests: dict[str, str] = {}

    def compile(self, plan: EditPlan) -> EditSet:
        """Low-rank factors for every writer that the plan reaches, from the base's weights."""
        edits: dict[str, LowRankEdit] = {}
        for layer in (None, *range(self._anatomy.n_layers)):
            vectors = plan.at(layer)
            basis = plan.basis(layer)
            alpha = torch.tensor([v.alpha * plan.scale for v in vectors])
            if basis is None or not bool((alpha > 0).any()):
                continue
            for writer in self._anatomy.of(layer, plan.kinds):
                edits[writer.name] = self._edit(writer, basis, alpha.clamp(max=1.0), plan)
        return EditSet(edits, writers_hash({name: self._digest(name) for name in edits}))

    def _edit(self, writer: Writer, basis: Tensor, alpha: Tensor, plan: EditPlan) -> LowRankEdit:
        if writer.name not in self._gains:
            self._gains[writer.name] = effective_gain(self._model, writer)
        gain = self._gains[writer.name]
        written = written_directions(basis, gain, writer.centred)
        try:
            operator = ablation_operator(
                basis, alpha, gain, centred=writer.centred, post_norm=plan.post_norm, ridge=plan.ridge
            )
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise EditError(
                f"the norm behind {writer.name} silences a planned direction: there is nothing to remove",
                hint="Leave this kind of writer out with ablation.writers.",
            ) from error
        if not bool(operator.write.isfinite().all() and operator.read.isfinite().all()):
            raise EditError(
                f"the edit of {writer.name} is not finite: a gain of the norm behind it is 0",
                hint="Use --set ablation.post_norm=ridge, which stays bounded.",
            )
        experts = self.routed.get(writer.module) if writer.n_experts else None
        return compile_edit(self._model, writer, operator, written / written.norm(dim=0), experts)

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            self._digests[name] = digest(read_weight(self._model, name))
        return self._digests[name]


def compile_edit(
    model: nn.Module,
    writer: Writer,
    operator: Operator,
    directions: Float[Tensor, "d_model r"],
    experts: tuple[int, ...] | None = None,
) -> LowRankEdit:
    """Turn an operator into low-rank factors: `left = -A`, `right = read @ W`, which is 0 for experts left alone."""
    weight = residual_first(read_weight(model, writer.name).detach(), writer)
    read = operator.read.to(weight.device)
    if weight.ndim == 3:  # one expert at a time: in float32 a whole block may not fit
        right = torch.stack([(read @ expert.float()).cpu() for expert in weight])
    else:
        right = (read @ weight.float()).cpu()
    if experts is not None:
        kept = torch.zeros(len(right), dtype=torch.bool)
        kept[list(experts)] = True
        right[~kept] = 0.0
    left = -operator.write.contiguous()
    return LowRankEdit(
        writer.name, left, right.contiguous(), operator.read.contiguous(), directions.contiguous(), experts
    )
