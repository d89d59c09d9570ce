"""Plans: strengths as published, orthonormal bases, scopes, and what compiles from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from saber.ablation.compiler import Compiler
from saber.ablation.plan import EditPlan, extend
from saber.entanglement.purity import Entanglement
from saber.errors import EditError
from saber.model.anatomy import effective_gain, residual_first
from saber.model.examine import examine
from saber.model.load import ChatModel
from saber.spectrum.direction import Direction

D_MODEL = 64
SUBSPACE = torch.eye(D_MODEL)[:, :4]
"""The capability subspace: the first four axes."""


def direction(layer: int, component: int, vector: torch.Tensor) -> Direction:
    unit = vector / vector.norm()
    return Direction(layer, component, unit, unit, fdr=2.0, fdr_in_sample=3.0, null=0.1, stability=0.9)


def axis(index: int) -> torch.Tensor:
    return torch.eye(D_MODEL)[index]


def empty(**changes: object) -> EditPlan:
    plan = EditPlan((), (), "layer", (1, 2), 4, ("attention", "mlp", "per_layer", "experts"), "ridge", 0.03)
    return replace(plan, **changes)


def grow(plan: EditPlan, *directions: Direction, pass_index: int = 0, **changes: object) -> EditPlan:
    options = {"alpha_base": 0.8, "alpha_entangled": 0.05, "threshold": 0.55, "purity_scaling": True}
    overlap = {d.name: float((SUBSPACE.T @ d.vector).square().sum()) for d in directions}
    measured = {
        name: Entanglement(name, rho, 1 - rho, 4 / D_MODEL, "geometric") for name, rho in overlap.items()
    }
    subspaces = dict.fromkeys(range(4), SUBSPACE)
    return extend(plan, directions, measured, subspaces, pass_index=pass_index, **{**options, **changes})


def test_pure_and_entangled_parts_get_their_own_strengths() -> None:
    mixed = direction(1, 0, 0.6 * axis(0) + 0.8 * axis(10))  # rho = 0.36
    plan = grow(empty(), mixed)
    pure, entangled = plan.vectors
    assert (pure.part, entangled.part) == ("pure", "entangled")
    assert pure.alpha == pytest.approx(0.8 * 0.64)
    assert entangled.alpha == 0.05
    assert torch.allclose(pure.vector.abs(), axis(10), atol=1e-6)
    assert torch.allclose(entangled.vector.abs(), axis(0), atol=1e-6)
    assert plan.n_directions == 1


def test_without_purity_scaling_the_whole_direction_gets_alpha_base() -> None:
    mixed = direction(1, 0, 0.6 * axis(0) + 0.8 * axis(10))
    (only,) = grow(empty(), mixed, purity_scaling=False).vectors
    assert (only.part, only.alpha) == ("whole", 0.8)
    assert torch.allclose(only.vector, mixed.vector, atol=1e-6)


def test_entangled_directions_are_skipped_with_the_reason() -> None:
    entangled = direction(1, 0, 0.9 * axis(0) + 0.3 * axis(10))
    plan = grow(empty(), entangled)
    assert not plan.vectors
    assert "rho 0.90 > threshold 0.55" in plan.skipped[0].reason


def test_nothing_is_removed_twice() -> None:
    first = direction(1, 0, axis(10) + 0.2 * axis(11))
    plan = grow(empty(), first, purity_scaling=False)
    again = grow(plan, direction(1, 1, axis(10) + 0.2 * axis(11)), purity_scaling=False, pass_index=1)
    assert len(again.vectors) == 1
    assert again.skipped[0].reason == "already removed, or strength 0"
    other = grow(plan, direction(1, 2, axis(10) + axis(12)), purity_scaling=False, pass_index=1)
    basis = other.basis(1)
    assert basis is not None
    assert torch.allclose(basis.T @ basis, torch.eye(2), atol=1e-5)


@pytest.mark.parametrize(("scope", "layers"), [("layer", {1}), ("window", {1, 2}), ("all", {0, 1, 2, 3})])
def test_scope_decides_which_layers_lose_a_direction(scope: str, layers: set[int]) -> None:
    plan = grow(empty(scope=scope), direction(1, 0, axis(10)))
    assert {layer for layer in range(4) if plan.at(layer)} == layers
    assert set(plan.removed()) == layers


def test_removed_directions_are_those_of_the_layer() -> None:
    plan = grow(empty(), direction(1, 0, axis(10)), direction(2, 0, axis(11)), purity_scaling=False)
    removed = plan.removed()
    assert torch.allclose(removed[1], axis(10)[None], atol=1e-6)
    assert torch.allclose(removed[2], axis(11)[None], atol=1e-6)


def test_compiled_edit_removes_the_planned_shares(chat: ChatModel) -> None:
    anatomy = examine(chat.model)
    plan = grow(empty(n_layers=anatomy.n_layers), direction(1, 0, torch.randn(D_MODEL)), threshold=1.0)
    plan = grow(plan, direction(1, 1, torch.randn(D_MODEL)), threshold=1.0, pass_index=1)
    edits = Compiler(chat.model, anatomy).compile(plan)
    assert set(edits.edits) == {writer.name for writer in anatomy.of(1)}
    for writer in anatomy.of(1):
        weight = residual_first(chat.model.get_parameter(writer.name), writer)
        gain = effective_gain(chat.model, writer)
        after = weight + edits.edits[writer.name].delta()
        for vector in plan.at(1):
            written = vector.vector if gain is None else gain * vector.vector
            share = (written @ after).norm() / (written @ weight).norm()
            assert float(share) == pytest.approx(1 - vector.alpha, abs=2e-5)


def test_scale_zero_and_unknown_kinds_compile_to_nothing(chat: ChatModel) -> None:
    anatomy = examine(chat.model)
    plan = grow(empty(n_layers=anatomy.n_layers), direction(1, 0, axis(10)))
    compiler = Compiler(chat.model, anatomy)
    assert len(compiler.compile(plan.scaled(0.0))) == 0
    assert len(compiler.compile(replace(plan, kinds=()))) == 0
    half, full = compiler.compile(plan.scaled(0.5)), compiler.compile(plan)
    name = next(iter(full.edits))
    assert torch.allclose(2 * half.edits[name].delta(), full.edits[name].delta(), atol=1e-5)


def test_weakened_changes_one_pass_only() -> None:
    plan = grow(empty(), direction(1, 0, axis(10)), purity_scaling=False)
    plan = grow(plan, direction(1, 1, axis(11)), purity_scaling=False, pass_index=1)
    assert [v.alpha for v in plan.weakened(1, 0.1).vectors] == pytest.approx([0.8, 0.08])


def test_a_solution_that_is_not_finite_is_refused(chat: ChatModel) -> None:
    anatomy = examine(chat.model)
    writer = anatomy.of(1)[0]
    if not writer.gains:
        return
    gain = writer.gains[0]
    chat.model.get_parameter(gain.parameter).data[:4] = -gain.offset
    plan = empty(n_layers=anatomy.n_layers, post_norm="direction")
    whole = grow(plan, direction(1, 0, torch.ones(D_MODEL)), purity_scaling=False, threshold=1.0)
    with pytest.raises(EditError, match="gain of the norm behind it is 0"):
        Compiler(chat.model, anatomy).compile(whole)
    Compiler(chat.model, anatomy).compile(replace(whole, post_norm="ridge"))
    silenced = grow(plan, direction(1, 0, axis(0)), purity_scaling=False, threshold=1.0)
    with pytest.raises(EditError, match="silences a planned direction"):
        Compiler(chat.model, anatomy).compile(silenced)
