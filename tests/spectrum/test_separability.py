from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saber.spectrum.extraction import METHODS, Candidates, extract
from saber.spectrum.separability import (
    cross_fitted_fdr,
    fdr,
    fold_numbers,
    layer_fdr,
    match,
    permutation_null,
    stability,
)
from saber.spectrum.span import reduce


def noise(seed, n=49, d=2560):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g).double(), torch.randn(n, d, generator=g).double()


def test_fdr_is_the_formula():
    h, s = torch.tensor([3.0, 5.0, 7.0]).double(), torch.tensor([0.0, 1.0]).double()
    assert fdr(h, s) == pytest.approx(4.5**2 / (4.0 + 0.5))


def test_fdr_of_constant_projections_is_finite():
    ones = torch.ones(4).double()
    assert fdr(ones, ones) == 0.0
    assert fdr(0 * ones, 0 * ones) == 0.0
    assert 1e6 < fdr(2 * ones, ones) < float("inf")


# METHOD section 2: "pure noise with n = 49 + 49, D = 2560 scores 63 in sample and 0.07 held out". That was
# one draw: |mu_H - mu_S|^2 = 2 D / n and the variances are 1, so the mean in sample is D / n = 52 (sd 7.6;
# 43 to 74 over 40 seeds). Held out the mean is 1 / n = 0.02 and the 95 % quantile 0.067.
def test_pure_noise_scores_about_60_in_sample_and_less_than_007_cross_fitted():
    fit = partial(extract, "mean_difference", k=1)
    in_sample, held_out = [], []
    for seed in range(6):
        reduced = reduce(*noise(seed), None, None)
        h, s = reduced.harmful, reduced.harmless
        found = fit(h, s)
        in_sample.append(fdr(h @ found.filters[0], s @ found.filters[0]))
        held_out.append(float(cross_fitted_fdr(h, s, fit, found, folds=5, seed=0)))
    assert np.mean(in_sample) == pytest.approx(2560 / 49, rel=0.15)
    assert all(40 < value < 80 for value in in_sample)
    assert np.mean(held_out) < 0.07


# The direction of n = 200 a class in d = 48 is almost exact, so the held-out ratio is that of the truth:
# shift^2 / 2 = 8. Its sampling sd is about 8 sqrt(2/200 + ...) = 0.9.
@pytest.mark.parametrize("method", sorted(METHODS))
def test_cross_fitted_fdr_is_the_true_ratio_where_there_is_one(plant, method):
    p = plant(0, n_h=200, n_s=200, shift=4.0, nuisance=0.0)
    fit = partial(extract, method, k=1, capability=p.capability)
    found = fit(p.harmful, p.harmless)
    score = cross_fitted_fdr(p.harmful, p.harmless, fit, found, folds=5, seed=0)
    assert float(score[0]) == pytest.approx(8.0, abs=2.0)
    assert float(score[0]) < fdr(p.harmful @ found.filters[0], p.harmless @ found.filters[0])


def test_components_keep_their_scores_when_folds_order_them_differently(plant):
    p = plant(1, n_h=100, n_s=100, shift=4.0, nuisance=4.0)
    fit = partial(extract, "svd", k=3)
    found = fit(p.harmful, p.harmless)
    score = cross_fitted_fdr(p.harmful, p.harmless, fit, found, folds=5, seed=0)

    def shuffled(h, s):
        order = torch.tensor([2, 0, 1])
        inner = fit(h, s)
        return Candidates(inner.vectors[order], inner.filters[order])

    again = cross_fitted_fdr(p.harmful, p.harmless, shuffled, found, folds=5, seed=0)
    torch.testing.assert_close(again, score)


def test_a_direction_that_flips_in_held_out_prompts_scores_zero():
    e = torch.eye(3).double()[:1]
    h, s = torch.randn(20, 3).double() - 5 * e, torch.randn(20, 3).double()
    found = Candidates(e, e)
    assert float(cross_fitted_fdr(h, s, lambda a, b: found, found, folds=5, seed=0)) == 0.0


def test_no_candidates_have_no_scores(plant):
    p = plant(0)
    nothing = Candidates(p.harmful[:0], p.harmful[:0])
    fit = lambda h, s: nothing  # noqa: E731
    assert cross_fitted_fdr(p.harmful, p.harmless, fit, nothing, folds=5, seed=0).shape == (0,)
    assert stability(p.harmful, p.harmless, fit, nothing, bootstraps=3, seed=0).shape == (0,)
    assert permutation_null(p.harmful, p.harmless, fit, folds=5, permutations=3, seed=0).tolist() == [0, 0, 0]


def test_missing_counterparts_count_as_zero(plant):
    p = plant(0, n_h=200, n_s=200, nuisance=0.0)
    full = extract("svd", p.harmful, p.harmless, k=2)
    one = partial(extract, "svd", k=1)
    score = cross_fitted_fdr(p.harmful, p.harmless, one, full, folds=5, seed=0)
    assert float(score[0]) > 5.0
    assert float(score[1]) == 0.0
    steady = stability(p.harmful, p.harmless, one, full, bootstraps=5, seed=0)
    assert float(steady[0]) > 0.9
    assert float(steady[1]) == 0.0


def test_the_null_is_below_a_real_direction_and_ignores_the_labels(plant):
    p = plant(2, shift=3.0)
    fit = partial(extract, "fisher", k=1)
    options = {"folds": 5, "permutations": 20, "seed": 0}
    null = permutation_null(p.harmful, p.harmless, fit, **options)
    found = fit(p.harmful, p.harmless)
    assert float(null.max()) < float(cross_fitted_fdr(p.harmful, p.harmless, fit, found, folds=5, seed=0))
    assert torch.equal(null, permutation_null(p.harmful, p.harmless, fit, **options))
    assert not torch.equal(null, permutation_null(p.harmful, p.harmless, fit, **(options | {"seed": 1})))


def test_the_same_shuffle_is_used_whatever_the_activations(plant):
    p, seen = plant(3, n_h=12, n_s=10), []

    def spy(h, s):
        seen.append(h[:, 0].tolist())
        return extract("mean_difference", h, s, k=1)

    for scale in (1.0, 2.0):
        permutation_null(scale * p.harmful, scale * p.harmless, spy, folds=2, permutations=3, seed=0)
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert np.allclose(2.0 * np.concatenate(first), np.concatenate(second))


def test_stability_is_high_for_a_planted_direction_and_low_for_noise(plant):
    p = plant(4, n_h=200, n_s=150, shift=6.0, nuisance=0.0)
    fit = partial(extract, "mean_difference", k=1)
    planted = stability(p.harmful, p.harmless, fit, fit(p.harmful, p.harmless), bootstraps=20, seed=0)
    assert 0.97 < float(planted[0]) <= 1.0
    h, s = noise(0, n=20, d=200)
    fit = partial(extract, "svd", k=1)
    assert float(stability(h, s, fit, fit(h, s), bootstraps=20, seed=0)[0]) < 0.8


@settings(max_examples=40, deadline=None)
@given(n_h=st.integers(1, 40), n_s=st.integers(1, 40), folds=st.integers(2, 6), seed=st.integers(0, 99))
def test_folds_are_equal_in_each_class_and_keep_pairs_together(n_h, n_s, folds, seed):
    fold_h, fold_s = fold_numbers(n_h, n_s, folds, seed)
    pairs = min(n_h, n_s)
    assert torch.equal(fold_h[:pairs], fold_s[:pairs])
    for numbers, n in ((fold_h, n_h), (fold_s, n_s)):
        sizes = torch.bincount(numbers, minlength=folds)
        assert len(numbers) == n
        assert int(sizes.max() - sizes.min()) <= 1


def test_match_finds_the_permutation():
    rows = torch.linalg.qr(torch.randn(9, 4).double())[0].T
    order = torch.tensor([2, 3, 1, 0])
    theirs, ours = match(Candidates(-rows[order], rows[order]), Candidates(rows, rows))
    torch.testing.assert_close(rows[order][theirs], rows[ours])


# E|x-mu|^2 = d in each class and |mu_H - mu_S|^2 = shift^2: (shift^2 / 2) / (2 d).
def test_layer_fdr_is_the_population_ratio_for_any_class_sizes(plant):
    for n_h, n_s, share in ((400, 400, 1 / 2), (600, 200, 5 / 8)):
        p = plant(5, n_h=n_h, n_s=n_s, d=48, shift=6.0, nuisance=0.0)
        assert layer_fdr(p.harmful, p.harmless) == pytest.approx(share * 36 / 96, rel=0.1)
        assert layer_fdr(1e3 * p.harmful, 1e3 * p.harmless) == pytest.approx(layer_fdr(p.harmful, p.harmless))


def test_layer_fdr_of_noise_is_about_zero_with_few_prompts():
    values = [layer_fdr(*noise(seed, n=10, d=500)) for seed in range(10)]
    # Uncorrected it would be (2 d / n / 2) / (2 d) = 1 / (2 n) = 0.05.
    assert np.mean(values) < 0.005


def test_layer_fdr_of_constants_is_finite():
    ones = torch.ones(4, 3)
    assert layer_fdr(ones, ones) == 0.0
    assert layer_fdr(0 * ones, 0 * ones) == 0.0
    assert 1.0 < layer_fdr(2 * ones, ones) < float("inf")
