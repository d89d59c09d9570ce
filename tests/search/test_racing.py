"""Racing drops what is shown to be dominated, and the best candidate practically never."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import norm, ttest_rel

from saber.search.racing import eliminated, tango_score


def race(
    rng: np.random.Generator, rates: np.ndarray, drifts: np.ndarray, looks: list[int], told: int = 1
) -> np.ndarray:
    """Who survives a race whose answers come in by and by; prompts differ in difficulty, so answers are paired."""
    n, prompts = len(rates), looks[-1]
    difficulty = norm.cdf(rng.standard_normal(prompts) * 0.8 + rng.standard_normal((n, prompts)) * 0.6)
    refused = (difficulty < rates[:, None]).astype(float)
    drift = drifts[:, None] * rng.lognormal(0, 0.7, prompts) * rng.lognormal(0, 0.3, (n, prompts))
    alive = np.ones(n, dtype=bool)
    for seen in looks:
        so_far = np.where(np.arange(prompts) < seen, refused, np.nan)
        alive &= ~eliminated(so_far, drift, alive, looks=told)
    return alive


def test_of_equal_candidates_the_best_is_dropped_in_at_most_one_race_in_twenty() -> None:
    rng = np.random.default_rng(0)
    races = 200
    lost = sum(not race(rng, np.full(12, 0.3), np.full(12, 0.1), [10, 20, 40, 80])[0] for _ in range(races))
    assert lost / races <= 0.05


def test_a_candidate_with_fewer_refusals_at_more_drift_survives_every_look() -> None:
    """The best in refusals by just more than the tolerance, at twice the drift of every rival."""
    rng = np.random.default_rng(1)
    rates, drifts = np.array([0.2] + [0.255] * 9), np.array([0.2] + [0.1] * 9)
    lost = sum(not race(rng, rates, drifts, [20, 40, 80, 160], told=4)[0] for _ in range(200))
    assert lost / 200 <= 0.05


def test_what_is_clearly_dominated_goes_and_a_true_trade_off_stays() -> None:
    rng = np.random.default_rng(2)
    rates = np.array([0.1, 0.5, 0.9, 0.5, 0.9])
    drifts = np.array([0.4, 0.1, 0.01, 0.8, 0.2])
    survivors = [race(rng, rates, drifts, [50, 100]).tolist() for _ in range(20)]
    assert survivors == [[True, True, True, False, False]] * 20


@pytest.mark.parametrize("difference", [0.0, 0.05, 0.1])
@pytest.mark.parametrize("n", [10, 40, 80])
def test_tango_limit_is_honest_for_every_rate_of_discordance(n: int, difference: float) -> None:
    """All tables of n pairs, enumerated: rejection at the boundary near the nominal level, with no discordance too."""
    first, second = (grid.ravel() for grid in np.meshgrid(np.arange(n + 1.0), np.arange(n + 1.0)))
    inside = first + second <= n
    first, second = first[inside], second[inside]
    score = tango_score(first, second, np.full(len(first), float(n)), difference)
    count = gammaln(n + 1) - gammaln(first + 1) - gammaln(second + 1) - gammaln(n - first - second + 1)
    for level in (0.05, 0.005):
        worst = 0.0
        for lower in np.linspace(1e-9, (1 - difference) / 2 - 1e-9, 40):
            rest = 1 - 2 * lower - difference
            chance = count + second * np.log(lower) + (n - first - second) * np.log(rest)
            chance = chance + first * np.log(lower + difference)
            worst = max(worst, float(np.exp(chance)[score <= -norm.isf(level)].sum()))
        assert worst <= 1.5 * level


def test_equal_answers_prove_no_more_than_their_number_allows() -> None:
    """With no discordant pair the upper limit is z^2 / (n + z^2)."""
    z = float(norm.isf(0.05))
    for n in (20.0, 50.0, 200.0):
        limit = z**2 / (n + z**2)
        none = np.zeros(1)
        assert tango_score(none, none, np.array([n]), limit)[0] == pytest.approx(-z)
    assert tango_score(np.zeros(1), np.zeros(1), np.array([50.0]), 0.0)[0] == 0.0
    assert tango_score(np.zeros(1), np.zeros(1), np.zeros(1), 0.05)[0] == 0.0


def test_at_no_difference_the_score_is_mcnemars() -> None:
    score = tango_score(np.array([3.0]), np.array([12.0]), np.array([60.0]), 0.0)[0]
    assert score == pytest.approx((3 - 12) / np.sqrt(15))


def test_two_candidates_are_decided_by_the_two_paired_tests() -> None:
    rng = np.random.default_rng(3)
    decided = []
    for _ in range(200):
        shift = rng.uniform(0, 0.1)
        refused = (rng.random((2, 60)) < np.array([[0.3], [rng.uniform(0.1, 0.6)]])).astype(float)
        drift = rng.lognormal(-2, 0.5, (2, 40)) + np.array([[0.0], [shift]])
        p_drift = ttest_rel(drift[0], drift[1], alternative="less").pvalue
        b, c = ((refused[0] > refused[1]).sum(), (refused[0] < refused[1]).sum())
        p_refused = norm.cdf(tango_score(np.array([b * 1.0]), np.array([c * 1.0]), np.array([60.0]), 0.05)[0])
        decided.append(bool(p_drift <= 0.05 and p_refused <= 0.05))
        assert eliminated(refused, drift, np.ones(2, dtype=bool)).tolist() == [False, decided[-1]]
    assert 20 <= sum(decided) <= 180


def test_a_candidate_eliminates_neither_itself_nor_its_twin() -> None:
    refused, drift = np.ones((3, 200)), np.full((3, 200), 0.1)
    assert not eliminated(refused, drift, np.ones(3, dtype=bool)).any()


def test_with_the_same_drift_fewer_refusals_eliminate_whichever_comes_first() -> None:
    drift = np.full((2, 50), 0.1)
    refused = np.stack([np.ones(50), np.zeros(50)])
    assert eliminated(refused, drift, np.ones(2, dtype=bool)).tolist() == [True, False]
    assert eliminated(refused[::-1], drift, np.ones(2, dtype=bool)).tolist() == [False, True]


def test_within_a_look_tolerance_does_not_add_up_along_a_chain() -> None:
    """Each step costs 4 % more refusals and saves drift; only neighbours are within the tolerance."""
    prompts = 4000
    refused = np.array(
        [(np.arange(prompts) < share * prompts) for share in (0.12, 0.08, 0.04, 0.0)], dtype=float
    )
    drift = np.array([0.1, 0.2, 0.3, 0.4])[:, None] * np.linspace(0.9, 1.1, 50)
    out = eliminated(refused, drift, np.ones(4, dtype=bool))
    # 1 goes because of 0; 2 would only go because of 1, so it stays and takes 3 along.
    assert out.tolist() == [False, True, False, True]


def test_unscored_prompts_and_the_dead_say_nothing() -> None:
    refused = np.stack([np.zeros(80), np.ones(80)])
    drift = np.stack([np.linspace(0.1, 0.2, 30), np.linspace(0.5, 0.6, 30)])
    assert eliminated(refused, drift, np.ones(2, dtype=bool)).tolist() == [False, True]
    apart = refused.copy()
    apart[0, :40], apart[1, 40:] = np.nan, np.nan
    assert not eliminated(apart, drift, np.ones(2, dtype=bool)).any()
    assert not eliminated(refused, drift, np.array([False, True])).any()
    drift[0] = np.nan
    assert not eliminated(refused, drift, np.array([False, True])).any()
    with pytest.raises(ValueError, match="finite"):
        eliminated(refused, drift, np.ones(2, dtype=bool))
    with pytest.raises(ValueError, match="0, 1 or nan"):
        eliminated(refused + 0.5, np.ones((2, 3)), np.ones(2, dtype=bool))
    with pytest.raises(ValueError, match="confidence"):
        eliminated(refused, np.ones((2, 3)), np.ones(2, dtype=bool), confidence=0.3)


def test_one_probe_proves_no_difference_of_drift() -> None:
    refused = np.stack([np.zeros(80), np.ones(80)])
    assert not eliminated(refused, np.array([[0.0], [9.0]]), np.ones(2, dtype=bool)).any()


def test_more_looks_and_more_rivals_ask_for_more_evidence() -> None:
    """95 equal answers are just enough among 5 living candidates, not with two looks, not among 6."""

    def last_goes(n: int, prompts: int, looks: int) -> bool:
        drift = np.concatenate([np.full((1, 20), 0.1), np.full((n - 1, 20), 0.5)]) * np.linspace(0.9, 1.1, 20)
        return bool(eliminated(np.zeros((n, prompts)), drift, np.ones(n, dtype=bool), looks=looks)[-1])

    assert last_goes(5, 96, 1)
    assert not last_goes(5, 95, 1)
    assert not last_goes(5, 96, 2)
    assert not last_goes(6, 96, 1)


def test_a_look_at_a_hundred_candidates_takes_no_time_beside_one_forward_pass() -> None:
    rng = np.random.default_rng(4)
    refused, drift = (rng.random((100, 100)) < 0.3).astype(float), rng.random((100, 100))
    alive = np.ones(100, dtype=bool)
    seconds = []
    for _ in range(10):
        start = time.process_time()
        eliminated(refused, drift, alive)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05
