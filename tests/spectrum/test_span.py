from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saber.spectrum.span import project_off, reduce


def test_coordinates_reproduce_the_activations_exactly_when_the_rank_is_not_bounded(plant):
    p = plant(d=400, n_h=40, n_s=30)
    reduced = reduce(p.harmful, p.harmless, p.capability)
    assert reduced.basis.shape == (400, 100)
    assert reduced.dimension == 400
    torch.testing.assert_close(reduced.lift(reduced.harmful), p.harmful)
    torch.testing.assert_close(reduced.lift(reduced.harmless), p.harmless)
    torch.testing.assert_close(reduced.lift(reduced.capability), p.capability)
    torch.testing.assert_close(reduced.basis.T @ reduced.basis, torch.eye(100, dtype=torch.float64))


def test_a_bounded_rank_keeps_the_strongest_components(plant):
    p = plant(d=60, n_h=60, n_s=60)
    reduced = reduce(p.harmful, p.harmless, None, max_rank=5)
    assert reduced.basis.shape == (60, 5)
    assert float((reduced.basis.T @ p.nuisance).norm()) > 0.98


def test_equal_and_zero_activations_have_low_rank():
    ones = torch.ones(4, 7)
    assert reduce(ones, ones).basis.shape == (7, 1)
    assert reduce(0 * ones, 0 * ones).basis.shape == (7, 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), r=st.integers(0, 4), scale=st.floats(1.0, 1e6))
def test_projecting_off_leaves_nothing_along_the_removed_rows(seed, r, scale):
    g = torch.Generator().manual_seed(seed)
    removed = torch.randn(r, 20, generator=g)
    x = torch.randn(5, 20, generator=g).double() + scale * removed.sum(dim=0)
    left = project_off(x, removed)
    assert float((left @ removed.double().T).abs().sum()) < 1e-8 * scale
    torch.testing.assert_close(project_off(left, removed), left, atol=1e-9 * scale, rtol=0)


def test_projecting_off_repeated_rows_is_the_same_as_off_one():
    row = torch.randn(1, 9)
    x = torch.randn(4, 9)
    torch.testing.assert_close(project_off(x, row.repeat(3, 1)), project_off(x, row))
