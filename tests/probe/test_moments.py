from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from saber.probe import moments
from saber.probe.moments import centred, shrunk_covariance, winsorise


def test_each_vector_is_clipped_at_its_own_quantile():
    x = torch.arange(1.0, 102.0).repeat(2, 1)
    x[1] *= -10.0
    clipped = winsorise(x, 0.9)
    assert float(clipped[0].max()) == pytest.approx(91.0)
    assert float(clipped[1].min()) == pytest.approx(-910.0)
    assert torch.equal(clipped[0, :91], x[0, :91])


def test_quantile_one_changes_nothing():
    x = torch.randn(3, 5)
    assert winsorise(x, 1.0) is x


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 6), d=st.integers(1, 40), q=st.floats(0.5, 1.0), seed=st.integers(0, 99))
def test_signs_stay_and_no_value_grows(n, d, q, seed):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    clipped = winsorise(x, q)
    assert bool((clipped.abs() <= x.abs()).all())
    assert bool((clipped * x >= 0).all())
    assert int((clipped != x).sum()) <= n * (1 + (1 - q) * d)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_chunks_change_nothing_and_the_dtype_stays(dtype, monkeypatch):
    x = torch.randn(11, 64).to(dtype)
    whole = winsorise(x, 0.9)
    monkeypatch.setattr(moments, "CHUNK_ELEMENTS", 130)
    assert torch.equal(winsorise(x, 0.9), whole)
    assert whole.dtype == dtype


@pytest.mark.parametrize(("n", "d"), [(20, 50), (80, 30), (10, 10)])
def test_shrunk_covariance_is_that_of_scikit_learn(n, d):
    x = torch.randn(n, d).double() * torch.linspace(0.5, 3, d).double()
    expected, _ = ledoit_wolf(x.numpy())
    np.testing.assert_allclose(shrunk_covariance(centred(x), d).numpy(), expected, atol=1e-10)


def test_shrunk_covariance_in_the_span_is_the_full_one_restricted():
    x = centred(torch.randn(12, 90).double() * torch.linspace(0.5, 3, 90).double())
    basis = torch.linalg.svd(x, full_matrices=False)[2][:11]
    expected = basis @ shrunk_covariance(x, 90) @ basis.T
    torch.testing.assert_close(shrunk_covariance(x @ basis.T, 90), expected)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_constant_vectors_have_no_covariance(n):
    assert torch.equal(shrunk_covariance(torch.zeros(n, 4).double(), 9), torch.zeros(4, 4).double())
