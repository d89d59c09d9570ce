"""The edited model is base + strengths: hooks with strengths, weights with strengths and single rows are one edit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saber.ablation.apply import applied
from saber.ablation.compiler import Compiler
from saber.ablation.units import UnitBank, hookable, strengthened
from saber.errors import EditError
from saber.model.anatomy import Anatomy, effective_gain, residual_first
from saber.model.examine import examine
from saber.model.forward import call
from saber.model.padding import company
from tests import pico, zoo
from tests.banks import INSIDE, bank_of, planned, random_plan

OTHERS = ("gpt_oss", "opt", "gpt2", "granitemoehybrid", "axk2")
"""Experts with biases, tied and positional embeddings, transposed weights, mixers, batches of one length."""
ALONE = {
    "gemma3n": "several streams in parallel",
    "dbrx": "sees only the tokens that are routed to it",
    "llama4": "not told the routing",
    "jetmoe": "adds model.layers.0.mlp.bias where no hook sees it",
    "zaya": "where no hook sees it",
}
"""What hooks cannot give each row of a batch its own strengths for."""


Known = tuple[Any, Anatomy]


@pytest.fixture(scope="module", params=pico.FAMILIES)
def known(request: pytest.FixtureRequest) -> Known:
    """A pico model of each family in turn, with its anatomy; no test changes it."""
    model = pico.model(request.param)
    return model, examine(model)


@pytest.fixture(scope="module")
def biased() -> Known:
    """A model whose writers have biases, those of its experts too."""
    model = zoo.build(zoo.ZOO["gpt_oss"])
    return model, examine(model)


def texts(vocabulary: int, *, padded: bool) -> tuple[Tensor, Tensor]:
    """Three rows of token ids and their mask, padded on the left."""
    ids = torch.randint(5, vocabulary, (3, 12), generator=torch.Generator().manual_seed(5))
    mask = torch.ones_like(ids)
    if padded:
        mask[0, :5] = mask[2, :2] = 0
    return ids, mask


@torch.no_grad()
def logits(model: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """Logits, 0 where padding stands."""
    return call(model, ids, mask).logits * mask[..., None]


def strengths(rows: int, bank: UnitBank) -> Tensor:
    """Random strengths, some of them 0."""
    alpha = torch.rand(rows, bank.n, generator=torch.Generator().manual_seed(9))
    alpha[0, ::3] = 0.0
    return alpha


def check_equal(model: nn.Module, anatomy: Anatomy, bank: UnitBank) -> None:
    """Strengths by row, the same for all rows, none, and 0, against weights edited in the ordinary way."""
    assert not hookable(model, anatomy, bank)
    ids, mask = texts(240, padded=company(model) == "any")
    alpha = strengths(3, bank)
    base = logits(model, ids, mask)
    with strengthened(model, bank) as knob:
        assert torch.equal(logits(model, ids, mask), base)
        knob.set(alpha)
        rows = logits(model, ids, mask)
        knob.set(alpha[1])
        shared = logits(model, ids, mask)
        knob.set(torch.zeros(bank.n))
        assert torch.equal(logits(model, ids, mask), base)
    assert torch.equal(logits(model, ids, mask), base), "hooks stay on the model"
    change = float((rows - base).abs().max())
    assert change > 1e-2
    # A vector that is small before a norm magnifies rounding: in units of the change, and more of it on Gemma 4.
    limit = (1e-4 if "gemma4" in anatomy.family else 1e-5) * max(change, 1.0)
    for row in range(3):
        with applied(model, anatomy, bank.edits(alpha[row])):
            whole = logits(model, ids, mask)
            real = mask[row].bool()
            alone = logits(model, ids[row : row + 1, real], mask[row : row + 1, real])[0]
        assert (rows[row] - whole[row]).abs().max() <= limit
        assert (rows[row, real] - alone).abs().max() <= limit
        assert row != 1 or (shared - whole).abs().max() <= limit


def test_hooks_with_strengths_equal_weights_with_strengths(known: Known) -> None:
    model, anatomy = known
    check_equal(model, anatomy, bank_of(model, anatomy))


@pytest.mark.parametrize("name", OTHERS)
def test_the_same_holds_elsewhere(name: str) -> None:
    model = zoo.build(zoo.ZOO[name])
    anatomy = examine(model)
    bank = bank_of(model, anatomy)
    assert {writer.name for writer in anatomy.writers} == {strand.writer.name for strand in bank.strands}
    check_equal(model, anatomy, bank)


def test_a_matrix_and_its_bias_share_strengths_and_are_edited_apart() -> None:
    model = zoo.build(zoo.ZOO["phi"])
    anatomy = examine(model)
    for kinds in (("attention",), ("bias",), ("attention", "bias")):
        bank = Compiler(model, anatomy).bank(random_plan(anatomy, kinds=kinds))
        check_equal(model, anatomy, bank)
        assert bank.n == 2 * len({strand.writer.module for strand in bank.strands})


@pytest.mark.parametrize("name", ALONE)
def test_what_cannot_share_a_batch_says_so(name: str) -> None:
    model = zoo.build(zoo.ZOO[name])
    anatomy = examine(model)
    assert ALONE[name] in hookable(model, anatomy, bank_of(model, anatomy))


def test_some_experts_or_some_parameters_of_a_block_say_so(biased: Known) -> None:
    model, anatomy = biased
    block = next(writer.module for writer in anatomy.writers if writer.form == "experts")
    for routed, kinds in (({block: (0, 2)}, ("experts", "bias")), ({}, ("experts",))):
        bank = Compiler(model, anatomy, routed).bank(random_plan(anatomy, kinds=kinds))
        assert "only some experts or parameters" in hookable(model, anatomy, bank)


def test_each_unit_leaves_the_rest_of_its_own_component(known: Known) -> None:
    """At alpha exactly 1 - alpha of every component is left, whatever the other strengths are."""
    model, anatomy = known
    plan = random_plan(anatomy, 3)
    bank = Compiler(model, anatomy).bank(plan)
    alpha = strengths(1, bank)[0]
    edits = bank.edits(alpha)
    for strand in bank.strands:
        writer, edit = strand.writer, edits.edits[strand.writer.name]
        weight = residual_first(model.get_parameter(writer.name).detach(), writer).double()
        gain = effective_gain(model, writer)
        after = weight + edit.left.double() @ edit.right.double()
        for place in strand.units:
            vector = plan.vectors[bank.units[place].vector].vector.double()
            written = vector if gain is None else gain.double() * vector
            before = written @ weight
            left = written @ after - (1 - float(alpha[place])) * before
            assert float(left.norm() / before.norm()) <= 5e-5


def test_edits_are_linear_in_their_strengths(known: Known) -> None:
    model, anatomy = known
    bank = bank_of(model, anatomy)
    one, other = strengths(2, bank)
    deltas = [bank.edits(alpha).edits for alpha in (one, other, 0.3 * one + 0.6 * other)]
    for name, edit in deltas[2].items():
        mixed = 0.3 * deltas[0][name].delta() + 0.6 * deltas[1][name].delta()
        assert torch.allclose(edit.delta(), mixed, atol=1e-6, rtol=1e-4)


def test_the_compiled_plan_is_its_bank_at_its_strengths(known: Known) -> None:
    model, anatomy = known
    compiler = Compiler(model, anatomy)
    plan = random_plan(anatomy)
    weak = replace(plan, vectors=tuple(replace(v, alpha=0.4) for v in plan.vectors))
    bank = compiler.bank(plan)
    assert compiler.bank(weak.scaled(0.5)) is bank, "plans that differ in strengths only share their units"
    assert compiler.compile(weak).sha256 == bank.edits(torch.full((bank.n,), 0.4)).sha256
    other = replace(plan, vectors=(*plan.vectors[:1], planned(-plan.vectors[1].vector, 1)))
    assert compiler.bank(other) is not bank


def test_edits_leave_writers_of_strength_zero_alone(known: Known) -> None:
    model, anatomy = known
    bank = bank_of(model, anatomy)
    assert len(bank.edits(torch.zeros(bank.n))) == 0
    alpha = torch.zeros(bank.n)
    last = bank.units[-1]
    alpha[[place for place, unit in enumerate(bank.units) if unit.module == last.module]] = 1.0
    assert {name.startswith(last.module) for name in bank.edits(alpha).edits} == {True}
    assert bank.first_layer(alpha) == last.layer == anatomy.n_layers - 1
    assert bank.first_layer(torch.ones(2, bank.n)) == 0


def test_units_are_named_by_module_and_direction(known: Known) -> None:
    model, anatomy = known
    bank = bank_of(model, anatomy)
    names = [unit.name for unit in bank.units]
    assert len(set(names)) == len(names)
    assert any(name.endswith("mlp.down_proj:L1.1") for name in names)


@pytest.mark.parametrize("known", [f for f in pico.FAMILIES if f != "gemma4_moe"], indirect=True)
def test_strengths_are_differentiable(known: Known) -> None:
    """Against finite differences; a router's choice has no derivative, so no mixture is here."""
    model, anatomy = known
    bank = bank_of(model, anatomy, kinds=INSIDE)
    ids, mask = texts(240, padded=True)
    pick = torch.randn(3, 240, generator=torch.Generator().manual_seed(1))

    def value(alpha: Tensor) -> Tensor:
        knob.set(alpha)
        return (call(model, ids, mask).logits[:, -1, :240] * pick).double().sum()

    with strengthened(model, bank) as knob:
        alpha = (0.3 * strengths(1, bank)[0]).requires_grad_()
        (slope,) = torch.autograd.grad(value(alpha), alpha)
        step = 1e-2 * slope / slope.norm()  # uphill, where the rise stands out from rounding
        with torch.no_grad():
            rise = value(alpha.detach() + step) - value(alpha.detach() - step)
    assert float(rise) == pytest.approx(2e-2 * float(slope.norm()), rel=5e-3)


def test_rows_that_do_not_divide_are_refused(known: Known) -> None:
    model, anatomy = known
    bank = bank_of(model, anatomy)
    ids, mask = texts(240, padded=False)
    with strengthened(model, bank) as knob:
        knob.set(strengths(2, bank))
        with pytest.raises(EditError, match="batch of 2 candidates"):
            logits(model, ids, mask)
    assert not _hooks(model)


def _hooks(model: Any) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())
