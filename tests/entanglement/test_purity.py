from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saber.entanglement.purity import measure_entanglement, split_direction
from saber.errors import ProbeError
from saber.spectrum.direction import Direction

D = 24


def direction(layer, vector, component=0):
    return Direction(layer, component, vector, vector, 2.0, 3.0, 1.0, 0.9)


def roles(n=400, shift=3.0, seed=0):
    """Layer 0: capability varies with sd 4 on axis 0, and 1 elsewhere; harmful is shifted on axes 0 and 1."""
    g = torch.Generator().manual_seed(seed)
    capability = torch.randn(n, 2, D, generator=g)
    capability[:, 0, 0] *= 4.0
    harmful, harmless = torch.randn(n, 2, D, generator=g), torch.randn(n, 2, D, generator=g)
    harmful[:, 0, :2] += shift
    return capability, harmful, harmless


AXES = torch.eye(D)
HALF = (AXES[0] + AXES[1]) / 2**0.5


def test_geometric_purity_of_planted_directions():
    found = measure_entanglement(
        [direction(0, AXES[1]), direction(0, AXES[0], 1), direction(0, HALF, 2)],
        *roles(),
        measure="geometric",
        rank=1,
        kappa=1.0,
    )
    assert list(found) == ["L0.0", "L0.1", "L0.2"]
    # The leading axis is known up to an angle of 1 / 4 / sqrt(400) a channel.
    for (name, record), rho in zip(found.items(), (0.0, 1.0, 0.5), strict=True):
        assert record.rho == pytest.approx(rho, abs=0.03)
        assert record.purity == 1.0 - record.rho
        assert record.random_rho == 1 / D
        assert (record.name, record.measure) == (name, "geometric")


# Purity = shift^2 / (shift^2 + kappa sd^2); means have an error of sqrt(2/4000) = 0.02, variances of 2 %.
@pytest.mark.parametrize("kappa", [0.5, 1.0, 4.0])
def test_variance_purity_of_planted_directions(kappa):
    capability, harmful, harmless = roles(n=4000)
    found = measure_entanglement(
        [direction(0, AXES[0]), direction(0, AXES[1], 1), direction(0, AXES[2], 2)],
        capability,
        harmful,
        harmless,
        measure="variance",
        rank=1,
        kappa=kappa,
    )
    for name, variance, shift in (("L0.0", 16.0, 3.0), ("L0.1", 1.0, 3.0), ("L0.2", 1.0, 0.0)):
        expected = shift**2 / (shift**2 + kappa * variance)
        assert found[name].purity == pytest.approx(expected, abs=0.03)
        assert found[name].rho == pytest.approx(1.0 - expected, abs=0.03)
    trace = kappa * (16.0 + D - 1)
    assert found["L0.0"].random_rho == pytest.approx(trace / (trace + 18.0), abs=0.02)


def test_records_keep_the_order_and_use_their_own_layer():
    directions = [direction(1, AXES[0]), direction(0, AXES[0]), direction(1, AXES[3], 1)]
    for measure in ("geometric", "variance"):
        found = measure_entanglement(directions, *roles(), measure=measure, rank=1, kappa=1.0)
        assert list(found) == ["L1.0", "L0.0", "L1.1"]
    found = measure_entanglement(directions, *roles(), measure="geometric", rank=1, kappa=1.0)
    assert found["L0.0"].rho > 0.95
    assert found["L1.0"].rho < 0.6


def test_the_rank_counts_in_the_geometric_measure_and_kappa_in_the_other():
    def rho(measure, rank, kappa):
        options = {"measure": measure, "rank": rank, "kappa": kappa}
        return measure_entanglement([direction(0, HALF)], *roles(), **options)["L0.0"].rho

    assert rho("geometric", 20, 1.0) > rho("geometric", 2, 1.0) == rho("geometric", 2, 9.0)
    assert rho("variance", 2, 9.0) > rho("variance", 2, 1.0) == rho("variance", 5, 1.0)


@pytest.mark.parametrize("measure", ["geometric", "variance"])
def test_degenerate_activations(measure):
    capability, harmful, harmless = roles(n=6)
    options = {"measure": measure, "rank": 4, "kappa": 1.0}
    with pytest.raises(ProbeError, match="1 capability"):
        measure_entanglement([direction(0, HALF)], capability[:1], harmful, harmless, **options)
    constant = torch.ones(5, 2, D)
    found = measure_entanglement([direction(0, HALF)], constant, constant, constant, **options)["L0.0"]
    assert found.purity == (1.0 if measure == "geometric" else 0.0)
    assert not measure_entanglement([], capability, harmful, harmless, **options)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), k=st.integers(1, 8))
def test_the_two_parts_add_up_to_the_direction(seed, k):
    g = torch.Generator().manual_seed(seed)
    subspace = torch.linalg.qr(torch.randn(D, k, generator=g, dtype=torch.float64))[0]
    d = torch.nn.functional.normalize(torch.randn(D, generator=g, dtype=torch.float64), dim=0)
    pure, pure_norm, entangled, entangled_norm = split_direction(d, subspace)
    torch.testing.assert_close(pure_norm * pure + entangled_norm * entangled, d)
    torch.testing.assert_close(subspace.T @ pure, torch.zeros(k).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(subspace @ (subspace.T @ entangled), entangled)
    assert pure_norm**2 + entangled_norm**2 == pytest.approx(1.0)


def test_a_part_that_is_not_there_is_none():
    subspace = AXES[:, :3].double()
    pure, pure_norm, entangled, entangled_norm = split_direction(AXES[1], subspace)
    assert pure is None
    assert pure_norm < 1e-6
    torch.testing.assert_close(entangled, AXES[1])
    pure, pure_norm, entangled, entangled_norm = split_direction(AXES[5], subspace)
    assert entangled is None
    assert entangled_norm < 1e-6
    torch.testing.assert_close(pure, AXES[5])
    empty = split_direction(AXES[5], subspace[:, :0])
    torch.testing.assert_close(empty[0], AXES[5])
    assert empty[2] is None


def test_a_sliver_outside_the_subspace_is_exactly_orthogonal_to_it():
    subspace = torch.linalg.qr(torch.randn(D, 5).double())[0]
    outside = torch.randn(D).double()
    outside -= subspace @ (subspace.T @ outside)
    d = torch.nn.functional.normalize(subspace[:, 0] + 1e-4 * outside / outside.norm(), dim=0)
    pure, pure_norm, _, _ = split_direction(d, subspace)
    assert pure_norm == pytest.approx(1e-4, rel=1e-3)
    assert float((subspace.T @ pure).abs().max()) < 1e-11
