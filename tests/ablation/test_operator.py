"""Theorems of METHOD section 0.2: what an operator removes, exactly, whatever the gain behind the writer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saber.ablation.operator import ablation_operator, orthonormal_additions, written_directions

SOLUTIONS = ("ridge", "least_change", "direction")
D_MODEL, D_IN = 48, 32


def problem(rank: int, seed: int = 0, spread: float = 0.3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(D_MODEL, rank, generator=generator))[0]
    gain = 1 + spread * torch.randn(D_MODEL, generator=generator)
    return basis, gain, torch.randn(D_MODEL, D_IN, generator=generator)


def left(
    basis: torch.Tensor, gain: torch.Tensor | None, before: torch.Tensor, after: torch.Tensor
) -> torch.Tensor:
    """|(G d_j)^T W'| / |(G d_j)^T W| for each direction."""
    written = basis if gain is None else gain[:, None] * basis
    return (written.T @ after).norm(dim=1) / (written.T @ before).norm(dim=1)


@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize("solution", SOLUTIONS)
def test_full_strength_leaves_nothing_behind_a_post_norm(solution: str, rank: int) -> None:
    basis, gain, weight = problem(rank)
    operator = ablation_operator(basis, torch.ones(rank), gain, post_norm=solution)
    after = weight - operator.write @ (operator.read @ weight)
    assert left(basis, gain, weight, after).max() <= 1e-5


@given(
    alpha=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    seed=st.integers(0, 50),
    solution=st.sampled_from(SOLUTIONS),
)
@settings(max_examples=40, deadline=None)
def test_each_direction_keeps_exactly_its_own_share(alpha: list[float], seed: int, solution: str) -> None:
    basis, gain, weight = problem(3, seed)
    strengths = torch.tensor(alpha)
    operator = ablation_operator(basis, strengths, gain, post_norm=solution)
    after = weight - operator.write @ (operator.read @ weight)
    assert torch.allclose(left(basis, gain, weight, after), 1 - strengths, atol=2e-5)


def test_direction_solution_changes_the_stream_only_along_the_directions() -> None:
    basis, gain, weight = problem(3, spread=0.1)
    alpha = torch.tensor([1.0, 0.5, 0.2])
    operator = ablation_operator(basis, alpha, gain, post_norm="direction")
    change = gain[:, None] * (operator.write @ (operator.read @ weight))
    expected = basis @ (alpha[:, None] * ((gain[:, None] * basis).T @ weight))
    assert torch.allclose(change, expected, atol=1e-4)


def test_least_change_moves_the_weights_least() -> None:
    basis, gain, weight = problem(2)
    norms = {}
    for solution in SOLUTIONS:
        operator = ablation_operator(basis, torch.ones(2), gain, post_norm=solution)
        norms[solution] = float((operator.write @ (operator.read @ weight)).norm())
    assert norms["least_change"] < norms["ridge"] < norms["direction"]


def test_ridge_minimises_its_objective_among_exact_solutions() -> None:
    basis, gain, _ = problem(1)
    tau = 0.03 * float(gain.square().mean())
    target = basis[:, 0] * (gain * basis[:, 0]).norm()

    def objective(a: torch.Tensor) -> float:
        return float((gain * a - target).square().sum() + tau * a.square().sum())

    costs = {
        s: objective(ablation_operator(basis, torch.ones(1), gain, post_norm=s).write[:, 0])
        for s in SOLUTIONS
    }
    # A sign flip of Q flips the whole column; compare on the side where u points along G d.
    flipped = {
        s: objective(-ablation_operator(basis, torch.ones(1), gain, post_norm=s).write[:, 0])
        for s in SOLUTIONS
    }
    best = {s: min(costs[s], flipped[s]) for s in SOLUTIONS}
    assert best["ridge"] <= min(best["least_change"], best["direction"]) + 1e-6


def test_the_ridge_strength_acts() -> None:
    basis, gain, _ = problem(1)
    one = ablation_operator(basis, torch.ones(1), gain, ridge=0.01)
    other = ablation_operator(basis, torch.ones(1), gain, ridge=1.0)
    assert not torch.allclose(one.write, other.write)


def test_naive_projection_leaks_behind_a_post_norm() -> None:
    basis, gain, weight = problem(1)
    operator = ablation_operator(basis, torch.ones(1), gain, post_norm="naive")
    after = weight - operator.write @ (operator.read @ weight)
    assert left(basis, gain, weight, after).max() > 0.05
    assert left(basis, None, weight, after).max() <= 1e-5


def test_projection_is_idempotent_and_low_rank() -> None:
    basis, gain, weight = problem(2)
    operator = ablation_operator(basis, torch.ones(2), gain)
    once = weight - operator.write @ (operator.read @ weight)
    twice = once - operator.write @ (operator.read @ once)
    assert torch.allclose(once, twice, atol=1e-5)
    assert torch.linalg.matrix_rank(once - weight, atol=1e-4) == 2


def test_additions_are_orthonormal_and_skip_what_is_known() -> None:
    basis, _, _ = problem(3)
    mixed = torch.stack([basis[:, 0] + 0.01 * torch.randn(D_MODEL), torch.randn(D_MODEL)], dim=1)
    new, kept = orthonormal_additions(basis, mixed)
    assert kept == [1]
    both = torch.cat([basis, new], dim=1)
    assert torch.allclose(both.T @ both, torch.eye(4), atol=1e-5)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("solution", SOLUTIONS)
def test_behind_a_layer_norm_the_centred_component_goes(solution: str, rank: int) -> None:
    basis, gain, weight = problem(rank)
    strengths = torch.linspace(1.0, 0.3, rank)
    operator = ablation_operator(basis, strengths, gain, centred=True, post_norm=solution)
    after = weight - operator.write @ (operator.read @ weight)
    written = written_directions(basis, gain, centred=True)
    share = (written.T @ after).norm(dim=1) / (written.T @ weight).norm(dim=1)
    assert torch.allclose(share, 1 - strengths, atol=2e-5)
    # What a LayerNorm subtracts anyway is left alone.
    assert operator.write.mean(dim=0).abs().max() <= 1e-5
    # The same through a real LayerNorm: nothing of the first direction is written at full strength.
    norm = torch.nn.LayerNorm(D_MODEL, bias=False)
    norm.weight.data.copy_(gain)
    x = torch.randn(7, D_IN, generator=torch.Generator().manual_seed(2))
    assert (norm(x @ after.T) @ basis[:, 0]).abs().max() <= 1e-5
    naive = weight - basis @ (basis.T @ weight)
    assert (norm(x @ naive.T) @ basis[:, 0]).abs().max() > 1e-2


def test_a_centred_norm_without_a_gain_needs_centring_too() -> None:
    basis, _, weight = problem(1)
    operator = ablation_operator(basis, torch.ones(1), None, centred=True)
    after = weight - operator.write @ (operator.read @ weight)
    centred = after - after.mean(dim=0)
    assert (basis.T @ centred).abs().max() <= 1e-5


def test_the_centred_ridge_solution_is_the_least_of_its_kind() -> None:
    basis, gain, _ = problem(2)
    tau = 0.03 * float(gain.square().mean())
    operator = ablation_operator(basis, torch.ones(2), gain, centred=True)
    q, r = torch.linalg.qr(written_directions(basis.double(), gain.double(), centred=True))
    target = basis.double() @ r.T

    def objective(a: torch.Tensor) -> float:
        return float((gain.double()[:, None] * a - target).square().sum() + tau * a.square().sum())

    found = operator.write.double() @ r.T  # A, of which the columns are units times R^-T
    assert torch.allclose(q.T @ found, torch.eye(2, dtype=torch.float64), atol=1e-5)
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):  # every feasible step away costs more
        step = torch.randn(D_MODEL, 2, dtype=torch.float64, generator=generator)
        both = torch.cat([q, torch.full((D_MODEL, 1), D_MODEL**-0.5, dtype=torch.float64)], dim=1)
        free = step - both @ torch.linalg.lstsq(both, step).solution
        assert objective(found + 0.01 * free) >= objective(found)
