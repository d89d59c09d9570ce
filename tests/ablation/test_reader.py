"""Input-side modes: the formulas of METHOD section 4, and what they take and leave on rows that they never saw."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from saber.ablation.reader import InputMode, Inputs, Rows, input_map, input_rows, map_of
from saber.ablation.separable import auroc, choose_mode, separability
from saber.errors import ProbeError

MODES: tuple[InputMode, ...] = ("M0", "M1", "M2", "M3")
OPTIONS = {"lam": 1.0, "mu": 1e-3, "energy": 0.99}


@dataclass
class World:
    """Inputs with a common mean and correlated noise; the harmful ones are shifted."""

    generator: torch.Generator
    common: Tensor
    mix: Tensor
    shift: Tensor
    weight: Tensor
    read: Tensor

    def draw(self, n: int, moved: Tensor | float = 0.0) -> Tensor:
        k = len(self.common)
        latent = torch.randn(n, len(self.mix), generator=self.generator)
        own = 0.03 * torch.randn(n, k, generator=self.generator)
        return self.common + latent @ self.mix + own + moved

    def unit(self) -> Tensor:
        return torch.nn.functional.normalize(torch.randn(len(self.common), generator=self.generator), dim=0)

    def inputs(self, n: int, **preserved: Tensor) -> Inputs:
        roles = {"harmful": self.draw(n, self.shift), "harmless": self.draw(n), **preserved}
        groups = {role: torch.arange(len(x)) for role, x in roles.items()}
        return Inputs(roles.pop("harmful"), roles.pop("harmless"), roles, groups)


def world(k: int, seed: int = 0, shift: float = 2.0) -> World:
    """What the writer writes along one read direction is the shift, plus half as much of something else."""
    g = torch.Generator().manual_seed(seed)
    made = World(g, torch.zeros(k), torch.zeros(1, k), torch.zeros(k), torch.zeros(8, k), torch.zeros(1, 8))
    made.common = 4 * made.unit()
    made.mix = torch.randn(64, k, generator=g) * (64 / k / torch.arange(1, 65))[:, None] ** 0.5
    made.shift = shift * made.unit()
    made.weight = torch.randn(8, k, generator=g) / k**0.5
    made.weight[0] = made.shift / shift + 0.5 * made.unit()
    made.read = torch.eye(8)[:1]
    return made


def outcome(
    q: Tensor, at: World, harmful: Tensor, harmless: Tensor, others: list[Tensor]
) -> tuple[float, float]:
    """Share of the shift that a full-strength edit removes, and its worst disturbance relative to M0's."""
    p = at.read @ at.weight
    removed = (q @ (harmful.mean(0) - harmless.mean(0))) / (p @ (harmful.mean(0) - harmless.mean(0)))
    disturbed = [(x @ q.T).square().mean().sqrt() / (x @ p.T).square().mean().sqrt() for x in others]
    return float(removed), float(max(disturbed))


# METHOD section 4 says 90 % of the shift with 2-3 % disturbance. Here, five seeds: 92-106 % (of a sample's own shift)
# with 3-4 % (root mean square, the standard reader's being 1) from 1600 rows of 256 channels, 5-8 % from 600 of 768.
@pytest.mark.parametrize(("k", "n"), [(256, 400), (768, 150)], ids=["channels", "rows"])
@pytest.mark.parametrize("seed", range(3))
def test_mean_shift_takes_the_shift_and_leaves_the_rest(k: int, n: int, seed: int) -> None:
    at = world(k, seed)
    inputs = at.inputs(n, capability=at.draw(n), preserve=at.draw(n))
    unseen = at.draw(n, at.shift), at.draw(n), [at.draw(n) for _ in range(3)]
    found = {m: outcome(input_rows(at.weight, at.read, inputs, mode=m), at, *unseen) for m in MODES}
    assert found["M0"] == (1.0, 1.0)
    assert found["M3"][0] >= 0.85
    assert found["M3"][1] <= 0.10
    assert found["M3"][1] < found["M2"][1] < 0.8


@pytest.mark.parametrize("mode", ["M2", "M3"])
@pytest.mark.parametrize(("k", "n"), [(24, 40), (90, 12)])
def test_the_formula(mode: InputMode, k: int, n: int) -> None:
    at = world(k)
    at.read = torch.randn(3, 8, generator=at.generator)
    inputs = at.inputs(n, capability=at.draw(n + 5), preserve=at.draw(2))
    h, s, c, keep = (x.double() for x in inputs.by_role.values())
    preserved = sum(x.T @ x / len(x) for x in (s, c, keep)) / 3
    base = h.T @ h / len(h) + 0.7 * preserved
    system = base + 1e-2 * base.trace() / k * torch.eye(k)
    p = (at.read @ at.weight).double().T
    delta = p.T @ (h.mean(0) - s.mean(0))
    right_side = h.T @ h / len(h) @ p if mode == "M2" else h.mean(0)[:, None] * delta
    expected = torch.linalg.solve(system, right_side).T
    found = input_rows(at.weight, at.read, inputs, mode=mode, lam=0.7, mu=1e-2)
    assert (found - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("k", "n"), [(40, 60), (150, 30)])
def test_rows_and_channels_give_the_same(mode: InputMode, k: int, n: int) -> None:
    at = world(k)
    inputs = at.inputs(n, capability=at.draw(n))
    right0 = at.weight.double()
    dual, primal = (
        map_of(Rows.of(inputs, dual=dual), mode=mode, **OPTIONS).rows(right0) for dual in (True, False)
    )
    assert (dual - primal).norm() <= 1e-8 * dual.norm()
    chosen = Rows.of(inputs)
    assert (chosen.gram is None) == (3 * n > k)  # the smaller system is solved


def test_the_null_space_mode_is_zero_where_it_must_and_standard_where_it_may() -> None:
    at = world(60)
    space = torch.linalg.qr(torch.randn(60, 9, generator=at.generator)).Q
    inside = [
        torch.randn(20, 5, generator=at.generator) @ space[:, part].T for part in (range(5), range(4, 9))
    ]
    groups = {role: torch.arange(20) for role in ("harmful", "harmless", "capability")}
    inputs = Inputs(at.draw(20, at.shift), inside[0], {"capability": inside[1]}, groups)
    exact = input_map(inputs, mode="M1", energy=1.0)
    rows = exact.rows(at.weight)
    unseen = torch.randn(30, 9, generator=at.generator) @ space.T
    assert (unseen.double() @ rows.T).abs().max() <= 1e-5 * (unseen @ at.weight.T).abs().max()
    outside = at.weight - at.weight @ space @ space.T
    assert (exact.rows(outside) - outside).abs().max() <= 1e-6
    assert (rows @ exact.left).abs().max() <= 1e-12


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.99])
def test_the_null_space_mode_leaves_at_most_the_rest_of_the_energy(energy: float) -> None:
    at = world(80)
    inputs = at.inputs(30, capability=at.draw(90))
    made = input_map(inputs, mode="M1", energy=energy)

    def left(leading: Tensor) -> float:
        parts = [inputs.harmless.double(), inputs.preserved["capability"].double()]
        rest = [x - x @ leading.T @ leading for x in parts]
        return float(
            sum(x.square().sum() / len(x) for x in rest) / sum(x.square().sum() / len(x) for x in parts)
        )

    assert left(made.right) <= 1 - energy
    assert left(made.right[:-1]) > 1 - energy  # one vector fewer would not do


@pytest.mark.parametrize("mode", MODES)
def test_strengths_and_directions_enter_linearly(mode: InputMode) -> None:
    at = world(50)
    inputs = at.inputs(30, capability=at.draw(30))
    read = torch.randn(3, 8, generator=at.generator)
    whole = input_rows(at.weight, read, inputs, mode=mode)
    mixing = torch.tensor([[0.3, 0.0, 0.0], [0.0, 1.0, -0.5], [0.0, 0.0, 0.0]])
    mixed = input_rows(at.weight, mixing @ read, inputs, mode=mode)
    assert (mixed - mixing @ whole).abs().max() <= 1e-5 * whole.abs().max()
    assert not mixed[2].any()


def test_the_standard_mode_is_the_edit_of_today_to_the_bit() -> None:
    at = world(50)
    inputs = at.inputs(10)
    assert torch.equal(input_rows(at.weight, at.read, inputs, mode="M0"), at.read @ at.weight)
    assert torch.equal(input_map(inputs, mode="M0").rows(at.weight), at.weight.double())


@pytest.mark.parametrize("mode", ["M1", "M2", "M3"])
def test_a_role_counts_alike_whatever_its_number_of_rows(mode: InputMode) -> None:
    at = world(50)
    inputs = at.inputs(30, capability=at.draw(8))
    often = {"capability": inputs.preserved["capability"].repeat(5, 1)}
    groups = {**inputs.groups, "harmful": torch.arange(60), "capability": torch.arange(40)}
    more = Inputs(inputs.harmful.repeat(2, 1), inputs.harmless, often, groups)
    one, other = (input_rows(at.weight, at.read, x, mode=mode) for x in (inputs, more))
    assert (one - other).norm() <= 1e-5 * one.norm()


@pytest.mark.parametrize("mode", ["M2", "M3"])
def test_more_weight_on_preserved_inputs_trades_the_fit_for_them(mode: InputMode) -> None:
    at = world(128)
    inputs = at.inputs(300, capability=at.draw(300))
    p = at.read @ at.weight
    target = (inputs.harmful @ p.T, (inputs.harmful.mean(0) - inputs.harmless.mean(0)) @ p.T)[mode == "M3"]
    missed, disturbed = [], []
    for lam in (0.1, 1.0, 10.0):
        q = input_rows(at.weight, at.read, inputs, mode=mode, lam=lam, mu=1e-9)
        missed.append(float((inputs.harmful @ q.T - target).square().mean()))
        preserved = (inputs.harmless, inputs.preserved["capability"])
        disturbed.append(sum(float((x @ q.T).square().mean()) for x in preserved))
    assert missed[0] < missed[1] < missed[2]
    assert disturbed[0] > disturbed[1] > disturbed[2]


def test_a_preserve_role_that_shares_the_shift_keeps_it() -> None:
    at = world(256)
    shared, own, theirs = 2 * at.unit(), 2 * at.unit(), 2 * at.unit()
    at.shift = shared + own
    at.weight[0] = torch.nn.functional.normalize(at.shift, dim=0)
    keep, unseen = (at.draw(400, shared + theirs) for _ in range(2))
    harmful, harmless = at.draw(400, at.shift), at.draw(400)
    taken, removed = {}, {}
    for name, preserved in (("with", {"preserve": keep}), ("without", {})):
        q = input_rows(at.weight, at.read, at.inputs(400, **preserved), mode="M3")
        kept_shift = unseen.mean(0) - harmless.mean(0)
        taken[name] = float((q @ kept_shift) / (at.read @ at.weight @ kept_shift))
        removed[name], _ = outcome(q, at, harmful, harmless, [harmless])
    assert min(removed.values()) >= 0.85
    assert abs(taken["with"]) <= 0.10
    assert taken["without"] >= 0.5


def test_noise_is_not_separable_though_its_own_rows_are() -> None:
    by_prompt, by_row = [], []
    for seed in range(6):
        g = torch.Generator().manual_seed(seed)
        prompt = torch.arange(40).repeat_interleave(8)
        harmful, harmless = (
            torch.randn(40, 200, generator=g)[prompt] + 0.1 * torch.randn(320, 200, generator=g)
            for _ in range(2)
        )
        groups = {"harmful": prompt, "harmless": prompt}
        inputs = Inputs(harmful, harmless, {}, groups)
        by_prompt.append(choose_mode(inputs, seed=seed).auroc)
        rows = replace(inputs, groups={role: torch.arange(320) for role in groups})
        by_row.append(choose_mode(rows, seed=seed).auroc)
    # Standard error of the mean of six: about 0.03.
    assert sum(by_prompt) / 6 == pytest.approx(0.5, abs=0.1)
    assert min(by_row) > 0.95


@pytest.mark.parametrize("mode", ["M1", "M2", "M3"])
def test_a_planted_shift_is_separable_and_the_worst_role_decides(mode: InputMode) -> None:
    at = world(128, shift=4.0)
    at.read = torch.eye(8)[:2]
    apart = at.inputs(100, capability=at.draw(100))
    alike = at.inputs(100, capability=at.draw(100), preserve=at.draw(100, at.shift))
    assert separability(at.weight, at.read, apart, mode=mode, seed=0) > 0.95
    assert separability(at.weight, at.read, alike, mode=mode, seed=0) < 0.65


def test_the_standard_reader_is_as_separable_as_the_output_that_it_reads() -> None:
    at = world(128)
    inputs = at.inputs(200, capability=at.draw(200))
    harmful, *others = ((x @ (at.read @ at.weight).T)[:, 0] for x in inputs.by_role.values())
    found = separability(at.weight, at.read, inputs, mode="M0", seed=0)
    assert found == pytest.approx(min(auroc(harmful, other) for other in others), abs=0.01)
    assert separability(at.weight, -at.read, inputs, mode="M0", seed=0) == pytest.approx(found)
    assert found < choose_mode(inputs, seed=0).auroc


def test_auto_takes_the_mean_shift_only_where_every_role_is_separable() -> None:
    at = world(128, shift=4.0)
    apart = at.inputs(100, capability=at.draw(100))
    alike = at.inputs(100, capability=at.draw(100), preserve=at.draw(100, at.shift))
    chosen, refused = choose_mode(apart, seed=1), choose_mode(alike, seed=1)
    assert chosen.mode == "M3"
    assert chosen.auroc == pytest.approx(separability(at.weight, at.read, apart, mode="M3", seed=1))
    expected = input_rows(at.weight, at.read, apart, mode="M3")
    assert torch.equal(chosen.map.rows(at.read @ at.weight).float(), expected)
    assert (refused.mode, refused.role) == ("M0", "preserve")
    assert torch.equal(refused.map.rows(at.weight).float(), at.weight)
    assert choose_mode(apart, seed=1, least=1.01).mode == "M0"
    faint = world(64, shift=0.5).inputs(60)
    first, again, other = (choose_mode(faint, seed=seed).auroc for seed in (0, 0, 1))
    assert first == again != other


def test_auroc_counts_ties_half() -> None:
    g = torch.Generator().manual_seed(0)
    positive, negative = torch.randint(6, (17,), generator=g), torch.randint(5, (23,), generator=g)
    pairs = [(p > q) + 0.5 * (p == q) for p in positive.tolist() for q in negative.tolist()]
    assert auroc(positive.double(), negative.double()) == pytest.approx(sum(pairs) / len(pairs))


def test_inputs_that_are_all_zero_are_read_as_nothing() -> None:
    groups = {role: torch.arange(4) for role in ("harmful", "harmless")}
    dead = Inputs(torch.zeros(4, 6), torch.zeros(4, 6), {}, groups)
    for mode in ("M2", "M3"):
        assert not input_map(dead, mode=mode).rows(torch.ones(1, 6)).any()
    chosen = choose_mode(dead, seed=0)
    assert (chosen.mode, chosen.auroc) == ("M0", 0.5)


def test_inputs_that_cannot_be_used_are_refused() -> None:
    at = world(20)
    inputs = at.inputs(6)
    with pytest.raises(ProbeError, match="no inputs of the preserve role") as error:
        at.inputs(6, preserve=at.draw(0))
    assert "input_mode=M0" in error.value.hint
    one = replace(inputs, groups={**inputs.groups, "harmless": torch.zeros(6, dtype=torch.long)})
    with pytest.raises(ProbeError, match="all harmless inputs come from one prompt"):
        choose_mode(one, seed=0)
    with pytest.raises(ValueError, match="needs the number of its prompt"):
        replace(inputs, groups={"harmful": torch.arange(6)})
    with pytest.raises(ValueError, match="fields of their own"):
        replace(inputs, preserved={"harmless": inputs.harmless})
    with pytest.raises(ValueError, match="at least 2 folds"):
        choose_mode(inputs, folds=1, seed=0)
