from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saber.entanglement.subspace import (
    capability_subspace,
    geometric_overlap,
    random_overlap,
    sink_channels,
)
from saber.errors import ProbeError


def low_rank(n=200, d=32, sd=(5.0, 4.0, 3.0), noise=0.1, seed=0):
    g = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(d, len(sd), generator=g))[0]
    scores = torch.randn(n, len(sd), generator=g) * torch.tensor(sd)
    return scores @ axes.T + noise * torch.randn(n, d, generator=g) + 2.0, axes.double()


# Sampling error of an axis is noise / sd / sqrt(n): below 0.01 in angle here.
def test_planted_axes_and_variances_are_found():
    x, axes = low_rank()
    subspace, variances = capability_subspace(x, 3)
    torch.testing.assert_close(subspace.T @ subspace, torch.eye(3).double())
    assert float(torch.linalg.svdvals(subspace.T @ axes).min()) > 0.999
    torch.testing.assert_close(variances.sqrt(), torch.tensor([5.0, 4.0, 3.0]).double(), rtol=0.15, atol=0)


def test_sink_channels_are_found_and_left_out():
    x, axes = low_rank()
    x[:, 7] = 2000.0 + 300.0 * torch.randn(200)
    x[:, 9] = -2000.0
    assert sink_channels(x).nonzero().flatten().tolist() == [7, 9]
    subspace, _ = capability_subspace(x, 3)
    assert float(subspace[[7, 9]].abs().max()) < 1e-12
    others = [channel for channel in range(32) if channel not in (7, 9)]
    assert float(torch.linalg.svdvals(subspace[others].T @ torch.linalg.qr(axes[others])[0]).min()) > 0.99


def test_no_sinks_without_a_typical_channel():
    x = torch.zeros(4, 9)
    x[:, :2] = torch.randn(4, 2)
    assert not bool(sink_channels(x).any())
    assert capability_subspace(x, 5)[0].shape == (9, 2)


def test_rank_is_bounded_by_the_data():
    x, _ = low_rank(n=4)
    assert capability_subspace(x, 8)[0].shape == (32, 3)
    assert capability_subspace(torch.full((5, 6), 0.1), 2)[0].shape == (6, 0)
    assert capability_subspace(torch.zeros(5, 6), 2)[0].shape == (6, 0)
    with pytest.raises(ProbeError, match="1 capability prompts"):
        capability_subspace(x[:1], 2)


@settings(max_examples=40, deadline=None)
@given(rho=st.floats(0.0, 1.0), seed=st.integers(0, 99), k=st.integers(1, 5))
def test_overlap_of_a_planted_direction(rho, seed, k):
    g = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(12, 6, generator=g, dtype=torch.float64))[0]
    inside = axes[:, :k] @ torch.nn.functional.normalize(torch.randn(k, generator=g).double(), dim=0)
    direction = rho**0.5 * inside + (1 - rho) ** 0.5 * axes[:, 5]
    assert geometric_overlap(direction, axes[:, :k]) == pytest.approx(rho, abs=1e-9)


def test_a_random_direction_overlaps_by_k_over_d():
    subspace = torch.linalg.qr(torch.randn(64, 8).double())[0]
    directions = torch.nn.functional.normalize(torch.randn(2000, 64).double(), dim=1)
    mean = sum(geometric_overlap(d, subspace) for d in directions) / 2000
    # Beta(4, 28): sd 0.058, standard error 0.0013.
    assert mean == pytest.approx(random_overlap(8, 64), abs=0.006)
