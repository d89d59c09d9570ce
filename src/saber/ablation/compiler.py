"""From a plan to low-rank edits: the factors of every unit are computed once for one base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saber.ablation.apply import digest
from saber.ablation.edit import EditSet, LowRankEdit
from saber.ablation.operator import Operator, unit_operator, written_directions
from saber.ablation.plan import EditPlan
from saber.ablation.units import Strand, Unit, UnitBank
from saber.errors import EditError
from saber.model.anatomy import Anatomy, Writer, effective_gain, residual_first
from saber.model.weights import read_weight

RowReader = Callable[[Writer, Tensor, LowRankEdit], LowRankEdit]
"""Turns a writer's standard edit at full strength into one that reads the input in another mode."""


class Compiler:
    """Compiles plans into edits of one base model; gains, hashes and the units' factors are computed once.

    Attributes:
        routed: By module of fused experts, those that are edited; modules that are not named: all.
        reader: What replaces the rows of a writer's units (input-side modes); None for the standard ones.
    """

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        routed: Mapping[str, tuple[int, ...]] | None = None,
        reader: RowReader | None = None,
    ) -> None:
        self._model = model
        self._anatomy = anatomy
        self.routed = routed or {}
        self.reader = reader
        self._gains: dict[str, Tensor | None] = {}
        self._digests: dict[str, str] = {}
        self._banks: list[tuple[EditPlan, UnitBank]] = []

    def compile(self, plan: EditPlan) -> EditSet:
        """Low-rank factors for every writer that the plan reaches, from the base's weights."""
        bank = self.bank(plan)
        return bank.edits(plan.strengths(bank.units))

    def bank(self, plan: EditPlan) -> UnitBank:
        """The plan's units; plans that differ in strengths only share them."""
        for known, bank in self._banks:
            if _same_units(known, plan):
                return bank
        units: list[Unit] = []
        strands: list[Strand] = []
        for layer in (None, *range(self._anatomy.n_layers)):
            places = plan.places(layer)
            basis = plan.basis(layer)
            if basis is not None:
                self._add_layer(self._anatomy.of(layer, plan.kinds), basis, places, plan, units, strands)
        made = UnitBank(tuple(units), tuple(strands), self._digest)
        self._banks = [*self._banks[-1:], (plan, made)]  # a pass compares its plan with the one before
        return made

    def _add_layer(
        self,
        writers: Sequence[Writer],
        basis: Tensor,
        places: Sequence[int],
        plan: EditPlan,
        units: list[Unit],
        strands: list[Strand],
    ) -> None:
        modules: dict[str, list[Writer]] = {}
        for writer in writers:
            modules.setdefault(writer.module, []).append(writer)
        for module, group in modules.items():
            own = tuple(range(len(units), len(units) + len(places)))
            first = group[0]
            for place in places:
                vector = plan.vectors[place]
                name = vector.direction.name + (f"@{vector.pass_index}" if vector.pass_index else "")
                part = "" if vector.part == "whole" else f".{vector.part}"
                units.append(Unit(module, first.layer, first.kind, place, name + part))
            made = [Strand(writer, own, self._edit(writer, basis, plan)) for writer in group]
            # An input-side mode is an affine edit of the matrix: the bias stays.
            from_input = any(strand.full.mode != "M0" for strand in made)
            strands += [s for s in made if not (from_input and s.writer.form == "bias")]

    def _edit(self, writer: Writer, basis: Tensor, plan: EditPlan) -> LowRankEdit:
        if writer.name not in self._gains:
            self._gains[writer.name] = effective_gain(self._model, writer)
        gain = self._gains[writer.name]
        written = written_directions(basis, gain, writer.centred)
        try:
            operator = unit_operator(
                basis, gain, centred=writer.centred, post_norm=plan.post_norm, ridge=plan.ridge
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
        made = compile_edit(self._model, writer, operator, written / written.norm(dim=0), experts)
        if self.reader is None or writer.form != "matrix":
            return made
        return self.reader(writer, read_weight(self._model, writer.name), made)

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            self._digests[name] = digest(read_weight(self._model, name))
        return self._digests[name]


def _same_units(one: EditPlan, other: EditPlan) -> bool:
    names = ("scope", "window", "kinds", "post_norm", "ridge")
    return (
        len(one.vectors) == len(other.vectors)
        and all(torch.equal(a.vector, b.vector) for a, b in zip(one.vectors, other.vectors, strict=True))
        and all(getattr(one, name) == getattr(other, name) for name in names)
    )


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
