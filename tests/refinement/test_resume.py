"""A loop that goes on from finished passes ends like one that was never interrupted, whatever ended it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saber.ablation.plan import EditPlan
from saber.refinement.refine import Refinement, refine
from saber.refinement.stopping import Criteria
from tests.refinement.test_refine import CRITERIA, EMPTY, Heard, N, add_one, heard, strength


def go(criteria: Criteria, finished: tuple[object, ...] = ()) -> Refinement[Heard]:
    """Every pass adds half a nat of drift and removes a quarter of the refusals."""

    def measure(plan: EditPlan) -> Heard:
        n = len(plan.vectors)
        return heard(max(0, N - 20 * n), 0.5 * n, kept=10 - n, log_odds=6.0 - strength(plan))

    return refine(
        EMPTY,
        heard(N, 0.0, log_odds=6.0),
        grow=add_one,
        measure=measure,
        log_odds=lambda plan: 6.0 - 4.0 * strength(plan),
        criteria=criteria,
        max_iterations=6,
        finished=finished,
    )


@pytest.mark.parametrize(
    ("criteria", "reason"),
    [
        (replace(CRITERIA, drift_budget=10.0), "target met"),
        (replace(CRITERIA, drift_budget=0.7), "drift 1.000 exceeds"),
        (replace(CRITERIA, drift_budget=0.1), "drift 0.500 exceeds"),
        (replace(CRITERIA, drift_budget=10.0, kept_refusal_floor=0.75), "severe refusals"),
        (replace(CRITERIA, drift_budget=10.0, stop_at_target=False), "max_iterations"),
    ],
)
def test_every_place_to_resume_ends_the_same(criteria: Criteria, reason: str) -> None:
    whole = go(criteria)
    assert reason in whole.stopped
    for n in range(len(whole.passes) + 1):
        again = go(criteria, whole.passes[:n])
        assert again.stopped == whole.stopped
        planned = [[v.direction.component for v in found.plan.vectors] for found in (again, whole)]
        assert planned[0] == planned[1], f"resumed after {n} passes"
        assert again.signal == whole.signal
        assert [one.kept for one in again.passes] == [one.kept for one in whole.passes]
