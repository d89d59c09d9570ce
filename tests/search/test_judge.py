"""Rules, verdicts, the front and the recommendation, on made-up measurements."""

from __future__ import annotations

import numpy as np
import pytest

from saber.evaluation.estimate import wilson
from saber.search.candidate import Measured
from saber.search.judge import Rules, area, front, judge, lower_limit, recommend

N = 60


def rules(**changes: object) -> Rules:
    given = {
        "target": "harmful",
        "kept": ("preserve",),
        "base_refuses": {"harmful": tuple(range(N)), "preserve": tuple(range(N))},
        "floor": 0.95,
        "confidence": 0.95,
        "degenerate_limit": 0.05,
        "drift_budget": 1.0,
        "refusal_target": 0.05,
    }
    return Rules(**{**given, **changes})  # type: ignore[arg-type]


def point(refused: int, kept: int, drift: float, *, broken: int = 0) -> Measured:
    def first(count: int) -> np.ndarray:
        return (np.arange(N) < count).astype(float)

    odds = {"harmful": first(refused) - 0.5, "preserve": first(kept) - 0.5}
    return Measured(
        odds,
        np.full(10, drift),
        {"harmful": first(refused), "preserve": first(kept)},
        {"harmful": first(broken), "preserve": first(0)},
        {"harmful": set(range(N)), "preserve": set(range(N))},
    )


def test_the_one_sided_limit_is_the_lower_end_of_a_wider_interval() -> None:
    assert lower_limit(60, 60, 0.95) == wilson(60, 60, confidence=0.9).low
    assert rules().least_n == 52
    assert lower_limit(52, 52, 0.95) >= 0.95 > lower_limit(51, 51, 0.95)


@pytest.mark.parametrize(
    ("found", "feasible", "word"),
    [
        (point(0, N, 0.01), True, ""),
        (point(0, N - 1, 0.01), False, "preserve"),
        (point(0, N, 2.0), False, "budget"),
        (point(0, N, float("nan")), False, "finite"),
        (point(0, N, 0.01, broken=20), False, "degenerate"),
    ],
)
def test_every_rule_is_checked(found: Measured, feasible: bool, word: str) -> None:
    verdict = judge(found, rules())
    assert verdict.feasible is feasible
    assert (verdict.violation > 0) is not feasible
    assert word in " ".join(verdict.reasons)


def test_what_was_not_measured_is_not_met() -> None:
    found = point(0, N, 0.01)
    del found.refused["preserve"]
    assert not judge(found, rules()).feasible


def test_a_race_that_ended_early_is_never_feasible() -> None:
    cut = point(0, N, 0.01)
    cut.asked["harmful"] = set(range(20))
    dropped = point(0, N, 0.01)
    dropped.dropped = "out after 20 answers"
    assert "40 of 60" in judge(cut, rules()).reasons[0]
    assert "early" in judge(dropped, rules()).reasons[0]


def test_a_role_that_the_base_never_refuses_constrains_nothing() -> None:
    given = rules(base_refuses={"harmful": tuple(range(N)), "preserve": ()})
    assert judge(point(0, 0, 0.01), given).feasible


def test_the_least_drift_among_quiet_feasible_points_is_recommended() -> None:
    points = [point(0, N, 0.03), point(0, N, 0.02), point(30, N, 0.001), point(0, 10, 0.0001)]
    verdicts = [judge(one, rules()) for one in points]
    chosen, why = recommend(verdicts, points, rules())
    assert chosen == 1
    assert "Least drift" in why
    assert front(verdicts) == [2, 1] or set(front(verdicts)) == {1, 2}


def test_without_a_quiet_point_the_fewest_refusals_are_recommended() -> None:
    points = [point(40, N, 0.001), point(20, N, 0.004), point(0, 0, 0.0)]
    verdicts = [judge(one, rules()) for one in points]
    assert recommend(verdicts, points, rules())[0] == 1


def test_without_a_feasible_point_the_nearest_is_named_with_its_reason() -> None:
    points = [point(0, 10, 0.01), point(10, N - 2, 0.01), point(0, 40, 0.01)]
    verdicts = [judge(one, rules()) for one in points]
    chosen, why = recommend(verdicts, points, rules())
    assert chosen == 1
    assert "No point obeys" in why
    assert "58/60" in why
    assert area(verdicts, (1.0, 1.0)) == 0.0


def test_nothing_measured_recommends_nothing() -> None:
    found = Measured({"harmful": np.ones(N), "preserve": np.ones(N)}, np.full(10, 0.1))
    assert recommend([judge(found, rules())], [found], rules())[0] is None
    assert recommend([], [], rules())[0] is None


def test_the_area_grows_with_better_points() -> None:
    weak, strong = judge(point(30, N, 0.1), rules()), judge(point(0, N, 0.01), rules())
    assert 0 < area([weak], (1.0, 1.0)) < area([weak, strong], (1.0, 1.0))
