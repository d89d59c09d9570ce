"""Functional entanglement: purity, effects of groups of units, the Fisher matrix, and rank correlation."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import spearmanr

from saber.entanglement.functional import (
    effect,
    fisher_matrix,
    mean_slopes,
    rank_correlation,
    unit_purity,
)

N = 5


def draws(n: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, N, generator=torch.Generator().manual_seed(seed))


def test_purity_is_the_share_of_refusal() -> None:
    assert unit_purity(3.0, 1.0, 1.0) == pytest.approx(0.75)
    assert unit_purity(3.0, 1.0, 3.0) == pytest.approx(0.5)
    assert unit_purity(-1.0, 2.0, 1.0) == 0.0, "a unit that raises refusal is none of it"
    assert unit_purity(1.0, 0.0, 1.0) == 1.0
    assert unit_purity(0.0, 0.0, 1.0) == 0.0, "a unit that does nothing has no purity to speak of"
    rising = [unit_purity(b, 1.0, 1.0) for b in (0.0, 0.1, 1.0, 10.0)]
    assert rising == sorted(rising)


def test_a_group_of_units_is_one_unit_along_their_sum() -> None:
    """b adds up, and F along the all-ones vector is what one strength for all of them costs."""
    f = fisher_matrix(draws())
    slopes = {"harmful": torch.tensor([1.0, -0.5, 2.0, 0.0, 0.3]), "preserve": torch.ones(N)}
    found = effect(slopes, f, [0, 2, 4], target="harmful", kappa=2.0)
    along = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    assert found.b == pytest.approx({"harmful": 3.3, "preserve": 3.0})
    assert found.sqrt_f == pytest.approx(math.sqrt(float(along @ f @ along)))
    assert found.purity == pytest.approx(3.3 / (3.3 + 2.0 * found.sqrt_f))
    alone = effect(slopes, f, [1], target="harmful", kappa=1.0)
    assert (alone.sqrt_f, alone.purity) == (pytest.approx(math.sqrt(float(f[1, 1]))), 0.0)


def test_units_that_undo_each_other_do_no_damage_together() -> None:
    one = draws()[:, :1]
    f = fisher_matrix(torch.cat([one, -one], dim=1))
    found = effect({"harmful": torch.ones(2)}, f, [0, 1], target="harmful", kappa=1.0)
    assert found.sqrt_f == pytest.approx(0.0, abs=1e-9)


def test_the_fisher_matrix_is_the_second_moment_and_semi_definite() -> None:
    given = draws(3)  # fewer draws than units: singular
    f = fisher_matrix(given)
    assert f.dtype == torch.float64
    assert torch.equal(f, f.T)
    assert torch.allclose(f, sum(torch.outer(row, row) for row in given.double()) / 3, atol=1e-12)
    assert float(torch.linalg.eigvalsh(f).min()) >= -1e-12
    assert int(torch.linalg.matrix_rank(f)) == 3


def test_mean_slopes_are_drops_and_nothing_without_prompts() -> None:
    slopes = draws(7)
    assert torch.allclose(mean_slopes(slopes), -slopes.double().mean(0))
    assert torch.equal(mean_slopes(slopes[:0]), torch.zeros(N, dtype=torch.float64))


def test_rank_correlation_is_spearmans_with_its_interval() -> None:
    x, y = draws(12)[:, 0].tolist(), (draws(12)[:, 0] + draws(12)[:, 1]).tolist()
    found = rank_correlation(x, y)
    assert found.value == pytest.approx(spearmanr(x, y).statistic)
    assert found.low is not None
    assert found.high is not None
    assert -1.0 < found.low < found.value < found.high < 1.0
    wider = rank_correlation(x, y, confidence=0.99)
    assert wider.low < found.low < found.high < wider.high
    assert rank_correlation(x, [math.exp(value) for value in x]).value == pytest.approx(1.0)
    assert rank_correlation(x, [-value for value in x]).value == pytest.approx(-1.0)
    assert found.n == 12


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Normal pairs with r = 0.6: Spearman's rho is (6 / pi) asin(r / 2); 400 samples of 20."""
    r, n, times = 0.6, 20, 400
    truth = 6 / math.pi * math.asin(r / 2)
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(times):
        x, z = torch.randn(2, n, generator=generator)
        found = rank_correlation(x.tolist(), (r * x + math.sqrt(1 - r * r) * z).tolist())
        covered += found.low <= truth <= found.high
    # 3.3 standard errors of a share of 0.95 in 400 samples.
    assert abs(covered / times - 0.95) <= 3.3 * math.sqrt(0.95 * 0.05 / times)


def test_too_few_or_constant_values_have_no_correlation() -> None:
    assert rank_correlation([1.0, 2.0], [2.0, 1.0]).value is None
    assert rank_correlation([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]).value is None
    three = rank_correlation([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    assert (three.value, three.low, three.high, three.n) == (pytest.approx(0.5), None, None, 3)
