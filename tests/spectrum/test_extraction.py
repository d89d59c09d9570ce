from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saber.probe.moments import centred, shrunk_covariance
from saber.spectrum.extraction import METHODS, extract
from saber.spectrum.span import reduce

ALL = sorted(METHODS)
SINGLE = {"mean_difference", "fisher"}
PATTERNS = {"whitened_svd", "contrastive"}


def cosine(a, b):
    return float((a @ b).abs() / (a.norm() * b.norm()))


# cos of the mean difference with the truth is 1 / sqrt(1 + e^2), e^2 = noise energy / shift^2. With n = 400
# a class, shift 6 and d = 48 isotropic noise: e^2 = 48 * (2/400) / 36 = 0.007, cos 0.997. Uncentred second
# moments see shift^2 + sigma^2 against sigma^2 and are as precise. 0.98 leaves three standard deviations.
@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("seed", range(3))
def test_every_method_recovers_the_direction_in_isotropic_noise(plant, method, seed):
    p = plant(seed, n_h=400, n_s=400, shift=6.0, nuisance=0.0)
    found = extract(method, p.harmful, p.harmless, k=3, capability=p.capability, projected=True)
    assert cosine(found.vectors[0], p.direction) > 0.98
    assert float(found.vectors[0] @ p.direction) > 0.0
    assert cosine(found.filters[0], p.direction) > 0.98


# Nuisance sd 12 against shift 4: second moments along the nuisance (144 and more) exceed 16 by far. Methods
# that know the noise read around it, svd does not. Inverting a covariance in d = 48 from 800 differences
# and two estimates of it adds an error of angle^2 ~ 2 d / n = 0.1: cos 0.95.
@pytest.mark.parametrize("seed", range(3))
def test_strong_nuisance_fools_svd_but_not_the_methods_that_whiten(plant, seed):
    p = plant(seed, n_h=400, n_s=400, shift=4.0, nuisance=12.0)
    arguments = {"k": 1, "capability": p.capability}
    assert cosine(extract("svd", p.harmful, p.harmless, **arguments).vectors[0], p.nuisance) > 0.95
    for method in ("fisher", "whitened_svd", "contrastive"):
        found = extract(method, p.harmful, p.harmless, **arguments)
        assert cosine(found.filters[0], p.direction) > 0.9, method
        assert cosine(found.filters[0], p.nuisance) < 0.1, method


# The shift leans towards the nuisance: the pattern is the shift itself, the filter turns away from the
# nuisance. The pattern's error along the nuisance is sd sqrt(2/n) = 8 sqrt(2/1000) = 0.36 against a shift
# of 4: cos 0.996.
@pytest.mark.parametrize("method", sorted(PATTERNS))
def test_patterns_are_the_shift_and_filters_avoid_the_nuisance(plant, method):
    p = plant(1, n_h=1000, n_s=1000, shift=4.0, nuisance=8.0, tilt=1.0)
    found = extract(method, p.harmful, p.harmless, k=1, capability=p.capability)
    assert cosine(found.vectors[0], p.direction) > 0.97
    assert cosine(found.filters[0], p.direction) < 0.8
    assert cosine(found.filters[0], p.nuisance) < 0.1
    assert float(found.filters[0] @ found.vectors[0]) > 0.0


def test_mean_difference_is_exact_and_projected_is_orthogonal_to_the_harmless_mean(plant):
    p = plant(2)
    shift = p.harmful.mean(0) - p.harmless.mean(0)
    plain = extract("mean_difference", p.harmful, p.harmless, k=5)
    torch.testing.assert_close(plain.vectors[0], shift / shift.norm())
    projected = extract("mean_difference", p.harmful, p.harmless, k=5, projected=True)
    assert abs(float(projected.vectors[0] @ p.harmless.mean(0))) < 1e-10
    assert len(plain) == len(projected) == 1


def test_svd_equals_the_singular_vectors_of_paired_differences(plant):
    p = plant(3, n_h=25, n_s=33)
    found = extract("svd", p.harmful, p.harmless, k=4)
    rows = torch.linalg.svd(p.harmful - p.harmless[:25], full_matrices=False)[2][:4]
    torch.testing.assert_close((found.vectors * rows).sum(1).abs(), torch.ones(4, dtype=torch.float64))


def test_fisher_equals_the_textbook_formula(plant):
    p = plant(4, n_h=200, n_s=150)
    within = shrunk_covariance(torch.cat([centred(p.harmful), centred(p.harmless)]), 48)
    w = torch.linalg.solve(within, p.harmful.mean(0) - p.harmless.mean(0))
    # The ridge for invertibility moves it by about 1e-6.
    assert cosine(extract("fisher", p.harmful, p.harmless, k=1).vectors[0], w) > 1 - 1e-8


def test_contrastive_solves_the_generalised_eigenproblem(plant):
    p = plant(5, n_h=80, n_s=90)
    kappa = 0.7
    found = extract("contrastive", p.harmful, p.harmless, k=3, capability=p.capability, kappa=kappa)
    away = p.harmful - p.harmless.mean(0)
    target = away.T @ away / len(away)
    noise = shrunk_covariance(centred(p.harmless), 48) + kappa * shrunk_covariance(centred(p.capability), 48)
    quotients = []
    for v, pattern in zip(found.filters, found.vectors, strict=True):
        assert cosine(noise @ v, pattern) > 1 - 1e-8
        quotient = (v @ target @ v) / (v @ noise @ v)
        torch.testing.assert_close(target @ v, quotient * (noise @ v), rtol=1e-3, atol=1e-3)
        quotients.append(float(quotient))
    assert quotients == sorted(quotients, reverse=True)


def test_capability_and_kappa_change_contrastive_and_nothing_else(plant):
    p = plant(6, tilt=1.0)
    bulk = 20.0 * p.capability
    for method in ALL:
        base = extract(method, p.harmful, p.harmless, k=1, capability=bulk, kappa=0.0)
        none = extract(method, p.harmful, p.harmless, k=1, capability=None, kappa=1.0)
        much = extract(method, p.harmful, p.harmless, k=1, capability=bulk, kappa=10.0)
        assert torch.equal(base.filters, none.filters)
        assert (cosine(base.filters[0], much.filters[0]) < 0.999) == (method == "contrastive")


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("dimensions", [(48, 60), (300, 40)])
def test_rotating_the_activations_rotates_the_candidates(plant, rotation, method, dimensions):
    d, n = dimensions
    p, q = plant(7, d=d, n_h=n, n_s=n - 3), rotation(d, 1)
    arguments = {"k": 3, "projected": True, "dimension": d}
    base = extract(method, p.harmful, p.harmless, capability=p.capability, **arguments)
    turned = extract(method, p.harmful @ q, p.harmless @ q, capability=p.capability @ q, **arguments)
    torch.testing.assert_close(turned.vectors, base.vectors @ q, atol=1e-6, rtol=0)
    torch.testing.assert_close(turned.filters, base.filters @ q, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", ALL)
def test_solving_in_the_span_gives_the_solution_of_the_full_space(plant, method):
    p = plant(8, d=300, n_h=40, n_s=35)
    reduced = reduce(p.harmful, p.harmless, p.capability)
    small = extract(
        method, reduced.harmful, reduced.harmless, k=3, capability=reduced.capability, dimension=300
    )
    full = extract(method, p.harmful, p.harmless, k=3, capability=p.capability)
    # The invertibility ridge (1e-6) is relative to the number of coordinates, the only difference.
    torch.testing.assert_close(reduced.lift(small.vectors), full.vectors, atol=1e-4, rtol=0)
    torch.testing.assert_close(reduced.lift(small.filters), full.filters, atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ALL)
def test_scaling_the_activations_changes_nothing(plant, method):
    p = plant(9)
    base = extract(method, p.harmful, p.harmless, k=2, capability=p.capability)
    for scale in (1e-4, 1e4):
        scaled = extract(method, scale * p.harmful, scale * p.harmless, k=2, capability=scale * p.capability)
        torch.testing.assert_close(scaled.vectors, base.vectors, atol=1e-8, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    method=st.sampled_from(ALL),
    n_h=st.integers(1, 6),
    n_s=st.integers(1, 6),
    rank=st.integers(0, 4),
    k=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_any_input_gives_finite_unit_candidates_and_no_more_than_its_rank(method, n_h, n_s, rank, k, seed):
    g = torch.Generator().manual_seed(seed)
    axes = torch.randn(rank, 8, generator=g, dtype=torch.float64)
    harmful, harmless = (torch.randn(n, rank, generator=g, dtype=torch.float64) @ axes for n in (n_h, n_s))
    found = extract(method, harmful, harmless, k=k, capability=harmless)
    assert len(found) <= min(k, rank if method != "fisher" else 1)
    assert not (method in SINGLE and len(found) > 1)
    for rows in (found.vectors, found.filters):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(found), dtype=torch.float64))
    assert bool((found.filters @ (harmful.mean(0) - harmless.mean(0)) >= 0).all())


@pytest.mark.parametrize("method", ALL)
def test_identical_classes_of_one_constant_have_no_candidates(method):
    constant = torch.full((5, 6), 3.0, dtype=torch.float64)
    assert len(extract(method, constant, constant, k=2, capability=constant)) == 0
    assert len(extract(method, 0 * constant, 0 * constant, k=2, capability=0 * constant)) == 0


@pytest.mark.parametrize("method", ALL)
def test_two_constants_differ_along_one_direction(method):
    harmful = torch.zeros(5, 6, dtype=torch.float64)
    harmful[:, 2] = 3.0
    found = extract(method, harmful, torch.zeros(4, 6, dtype=torch.float64), k=3)
    assert len(found) == 1
    torch.testing.assert_close(found.vectors[0], torch.eye(6, dtype=torch.float64)[2])
