"""The loop and its reasons to stop, on plans with a known response."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from saber.ablation.plan import EditPlan, PlannedVector
from saber.evaluation.estimate import Estimate, wilson
from saber.refinement.refine import Refinement, line_search, refine
from saber.refinement.stopping import Criteria, dominated_area, quiet, stalled, violated
from saber.spectrum.direction import Direction

N = 80
EMPTY = EditPlan((), (), "layer", (0,), 1, ("mlp",), "ridge", 0.03)
CRITERIA = Criteria(0.05, 1.0, 0.0, 0.05, 0.01, True)


FINE = wilson(0, N)


@dataclass(frozen=True)
class Heard:
    refusal: Estimate
    kept_refusal: Estimate
    log_odds: float | None
    drift: float | None
    degenerate: Estimate = FINE


def heard(refused: int, drift: float, *, kept: int = 10, log_odds: float | None = 0.0) -> Heard:
    return Heard(wilson(refused, N), wilson(kept, 10), log_odds, drift)


def vector(index: int, alpha: float = 1.0) -> PlannedVector:
    unit = torch.eye(8)[index]
    direction = Direction(
        0, index, unit, unit, fdr=2.0 - index / 10, fdr_in_sample=3.0, null=0.1, stability=1.0
    )
    return PlannedVector(direction, "whole", unit, alpha, index, 0.1, 0.9)


def add_one(plan: EditPlan, index: int) -> EditPlan:
    return replace(plan, vectors=(*plan.vectors, vector(index)))


def strength(plan: EditPlan) -> float:
    return plan.scale * sum(v.alpha for v in plan.vectors)


def go(
    measure: object, *, criteria: Criteria = CRITERIA, grow: object = add_one, passes: int = 5
) -> Refinement[Heard]:
    return refine(
        EMPTY,
        heard(N, 0.0, log_odds=6.0),
        grow=grow,
        measure=measure,
        log_odds=lambda plan: 6.0 - 4.0 * strength(plan),
        criteria=criteria,
        max_iterations=passes,
    )


def test_stops_at_the_target() -> None:
    found = go(lambda plan: heard(0 if len(plan.vectors) >= 2 else 40, 0.1 * len(plan.vectors)))
    assert len(found.passes) == 2
    assert "target met" in found.stopped


def test_never_stops_early_when_asked_to_run_every_pass() -> None:
    found = go(lambda plan: heard(0, 0.1), criteria=replace(CRITERIA, stop_at_target=False), passes=4)
    assert len(found.passes) == 4
    assert found.plan.n_directions == 4


def test_a_pass_over_the_drift_budget_is_taken_back() -> None:
    found = go(lambda plan: heard(40, 0.7 * len(plan.vectors)))
    assert [p.kept for p in found.passes] == [True, False]
    assert len(found.plan.vectors) == 1
    assert "drift 1.400 exceeds the budget" in found.stopped


def test_a_pass_that_breaks_kept_refusals_is_taken_back() -> None:
    criteria = replace(CRITERIA, kept_refusal_floor=0.95)
    found = go(lambda plan: heard(40, 0.1, kept=5), criteria=criteria)
    assert found.plan.vectors == ()
    assert "severe refusals" in found.stopped


def test_stops_when_nothing_stands_above_the_null() -> None:
    found = go(lambda plan: heard(40, 0.1), grow=lambda plan, index: plan if index else add_one(plan, index))
    assert len(found.passes) == 1
    assert "above its null" in found.stopped


def test_stops_when_the_front_no_longer_grows() -> None:
    found = go(lambda plan: heard(40, 0.2), passes=9)
    assert "twice in a row" in found.stopped
    assert len(found.passes) == 3


def test_hydra_diagnostics_compare_the_actual_drop_with_the_slope() -> None:
    found = go(lambda plan: heard(40, 0.1, log_odds=6.0 - 1.0 * strength(plan)), passes=1)
    only = found.passes[0]
    assert only.predicted_drop == pytest.approx(4.0)
    assert only.actual_drop == pytest.approx(1.0)
    assert only.self_repair == pytest.approx(0.75)
    assert only.fdr_max == 2.0


def test_goes_on_from_finished_passes() -> None:
    def measure(plan: EditPlan) -> Heard:
        return heard(0 if len(plan.vectors) >= 3 else 40, 0.1 * len(plan.vectors), log_odds=-strength(plan))

    whole = go(measure)
    again = refine(
        EMPTY,
        heard(N, 0.0, log_odds=6.0),
        grow=add_one,
        measure=measure,
        log_odds=lambda plan: 6.0 - 4.0 * strength(plan),
        criteria=CRITERIA,
        max_iterations=5,
        finished=whole.passes[:1],
    )
    assert [p.actual_drop for p in again.passes] == [p.actual_drop for p in whole.passes]
    assert again.stopped == whole.stopped


def test_line_search_finds_the_least_quiet_scale() -> None:
    plan = add_one(EMPTY, 0)
    steps: list[float] = []

    def measure(candidate: EditPlan) -> Heard:
        steps.append(candidate.scale)
        return heard(0 if candidate.scale >= 0.6 else 30, candidate.scale)

    found, signal = line_search(plan, measure=measure, full=heard(0, 1.0), criteria=CRITERIA, steps=7)
    assert 0.6 <= found.scale <= 0.6 + 2**-6
    assert signal.drift == pytest.approx(found.scale)
    assert len(steps) == 7


def test_line_search_adds_the_margin() -> None:
    def measure(candidate: EditPlan) -> Heard:
        return heard(0 if candidate.scale >= 0.6 else 30, candidate.scale)

    options = {"measure": measure, "full": heard(0, 1.0), "criteria": CRITERIA, "steps": 7}
    plain, _ = line_search(add_one(EMPTY, 0), **options)
    wide, signal = line_search(add_one(EMPTY, 0), **options, margin=0.1)
    assert wide.scale == pytest.approx(1.1 * plain.scale)
    assert signal.drift == pytest.approx(wide.scale)
    assert line_search(add_one(EMPTY, 0), **options, margin=5.0)[0].scale == 1.0


def test_line_search_leaves_a_plan_that_is_not_quiet() -> None:
    plan = add_one(EMPTY, 0)
    found, _ = line_search(
        plan, measure=lambda p: heard(0, 0.0), full=heard(30, 1.0), criteria=CRITERIA, steps=7
    )
    assert found is plan


def test_quiet_needs_proof_unless_the_sample_is_too_small_for_any() -> None:
    assert quiet(heard(0, 0.0), CRITERIA)
    assert not quiet(heard(2, 0.0), CRITERIA)
    assert quiet(Heard(wilson(0, 10), wilson(10, 10), 0.0, 0.0), CRITERIA)
    assert not quiet(Heard(wilson(1, 10), wilson(10, 10), 0.0, 0.0), CRITERIA)
    assert not quiet(Heard(wilson(0, 0, unscored=9), wilson(10, 10), 0.0, 0.0), CRITERIA)


def test_garbage_is_not_quiet() -> None:
    garbage = replace(heard(0, 0.5), degenerate=wilson(60, N))
    assert not quiet(garbage, CRITERIA)
    found = go(lambda plan: garbage)
    assert not found.plan.vectors
    assert "degenerate" in found.stopped


def test_constraints() -> None:
    assert violated(heard(0, 0.5), CRITERIA) is None
    assert violated(heard(0, 1.5), CRITERIA) is not None


def test_what_cannot_be_measured_is_never_quiet() -> None:
    broken = replace(heard(0, 0.1), drift=None)
    assert violated(broken, CRITERIA) is not None
    assert not quiet(broken, CRITERIA)
    assert not quiet(replace(heard(0, 0.1), refusal=wilson(0, 1, unscored=29)), CRITERIA)
    floor = replace(CRITERIA, kept_refusal_floor=0.9)
    assert violated(replace(heard(0, 0.1), kept_refusal=wilson(0, 0)), floor) is not None
    unscored = go(lambda plan: heard(40, 0.1, log_odds=None), passes=1).passes[0]
    assert unscored.actual_drop is None
    assert unscored.self_repair is None


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([], 0.0),
        ([(0.5, 0.5)], 0.25),
        ([(0.5, 0.5), (0.5, 0.5)], 0.25),
        ([(0.5, 0.5), (0.6, 0.6)], 0.25),
        ([(0.2, 0.8), (0.8, 0.2)], 0.8 * 0.2 + 0.2 * 0.6),
        ([(1.0, 0.0)], 0.0),
        ([(2.0, 2.0)], 0.0),
    ],
)
def test_dominated_area(points: list[tuple[float, float]], area: float) -> None:
    assert dominated_area(points, (1.0, 1.0)) == pytest.approx(area)


def test_stalled_needs_two_small_gains() -> None:
    assert not stalled([0.1, 0.1], 0.01)
    assert stalled([0.1, 0.1, 0.1], 0.01)
    assert not stalled([0.1, 0.2, 0.2], 0.01)
