"""Strengths by quadratic program: the KKT conditions, other solvers, and what a path must do."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize
from torch import Tensor

from saber.ablation.strength import Penalty, Solution, lambda_grid, predicted, solve_box_qp, strength_path
from saber.errors import EditError

EXACT = 1e-9


def fisher(n: int, rank: int, generator: torch.Generator) -> Tensor:
    scores = torch.randn(n, max(rank, 1), generator=generator, dtype=torch.float64)
    return scores @ scores.T * float(rank > 0)


def normal(n: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, generator=generator, dtype=torch.float64)


def objective(F: Tensor, b: Tensor, lam: float, penalties: list[Penalty], a: Tensor) -> float:
    soft = [p for p in penalties if math.isfinite(p.weight)]
    return float(0.5 * lam * a @ F @ a - b @ a) + sum(
        p.weight * max(0.0, float(p.slope @ a) - p.limit) for p in soft
    )


def check_kkt(F: Tensor, b: Tensor, lam: float, penalties: list[Penalty], solution: Solution) -> None:
    """The conditions written out: signs at the bounds, nothing pulls inside, multipliers only where limits bind."""
    alpha, m = solution.alpha, solution.multipliers
    push = sum((mult * p.slope for mult, p in zip(m, penalties, strict=True)), torch.zeros_like(b))
    slope = lam * F @ alpha - b + push
    size = 1e-7 * float(torch.cat([b, lam * F @ alpha, push]).abs().max().clamp(min=1e-9))
    assert bool(((alpha >= 0) & (alpha <= 1)).all())
    assert bool((slope[alpha < 1 - 1e-7] >= -size).all())
    assert bool((slope[alpha > 1e-7] <= size).all())
    for mult, p in zip(m.tolist(), penalties, strict=True):
        excess = float(p.slope @ alpha) - p.limit
        reach = 1e-7 * float(p.slope.abs().sum() + abs(p.limit))
        assert 0 <= mult <= p.weight
        assert mult * float(p.slope.abs().max()) <= size or excess >= -reach
        assert mult >= p.weight or excess <= reach


PROBLEM = st.tuples(
    st.integers(1, 20), st.integers(0, 20), st.integers(0, 3), st.floats(-2, 2), st.integers(0, 2**31)
)


@settings(deadline=None, max_examples=50)
@given(PROBLEM)
def test_solutions_meet_the_kkt_conditions(drawn: tuple[int, int, int, float, int]) -> None:
    """Ranks from 0 to more than n, soft and hard penalties, limits below and above what no edit does."""
    n, rank, count, log_lam, seed = drawn
    generator = torch.Generator().manual_seed(seed)
    F, b, lam = fisher(n, rank, generator), normal(n, generator), 10**log_lam
    weights = torch.randint(0, 4, (count,), generator=generator).tolist()
    limits = torch.randint(0, 4, (count,), generator=generator).tolist()
    penalties = [
        Penalty(normal(n, generator), (0.0, 0.3, -0.2, 2.0)[limit], (math.inf, 0.5, 3.0, 0.0)[weight])
        for weight, limit in zip(weights, limits, strict=True)
    ]
    solution = solve_box_qp(F, b, lam=lam, penalties=penalties)
    assert solution.kkt <= EXACT
    if solution.feasible:
        check_kkt(F, b, lam, penalties, solution)
        assert solution.value == pytest.approx(objective(F, b, lam, penalties, solution.alpha), rel=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_no_point_of_a_fine_grid_is_better(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    F, b = fisher(3, 1 + seed % 3, generator), normal(3, generator) + 0.5
    penalties = [Penalty(normal(3, generator), 0.1, 0.7), Penalty(normal(3, generator), 0.2, math.inf)]
    solution = solve_box_qp(F, b, lam=0.7, penalties=penalties)
    ticks = torch.linspace(0, 1, 21, dtype=torch.float64)
    grid = torch.cartesian_prod(ticks, ticks, ticks)
    allowed = grid[grid @ penalties[1].slope <= 0.2]
    assert len(allowed)
    best = min(objective(F, b, 0.7, penalties, point) for point in allowed)
    assert solution.value <= best + 1e-9
    # One step of the grid along the steepest slope is as far as the grid can be from the optimum.
    steepest = 0.7 * F.abs().sum(dim=1) + b.abs() + 0.7 * penalties[0].slope.abs()
    assert solution.value >= best - 0.05 * float(steepest.sum()) * (1 + float(penalties[1].slope.abs().sum()))


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_scipy(seed: int) -> None:
    """SLSQP on the smooth form: one slack variable for each soft hinge."""
    generator = torch.Generator().manual_seed(100 + seed)
    n, lam = 8, 0.4
    F, b = fisher(n, (3, 12)[seed % 2], generator), normal(n, generator) + 0.5
    soft, hard = Penalty(normal(n, generator), 0.1, 0.8), Penalty(normal(n, generator), 0.3, math.inf)
    solution = solve_box_qp(F, b, lam=lam, penalties=[soft, hard])
    Fn, bn, c, k = F.numpy(), b.numpy(), soft.slope.numpy(), hard.slope.numpy()
    theirs = minimize(
        lambda z: 0.5 * lam * z[:n] @ Fn @ z[:n] - bn @ z[:n] + 0.8 * z[n],
        np.full(n + 1, 0.1),
        jac=lambda z: np.append(lam * Fn @ z[:n] - bn, 0.8),
        bounds=[(0, 1)] * n + [(0, None)],
        constraints=LinearConstraint(
            np.stack([np.append(c, -1.0), np.append(k, 0.0)]), -np.inf, [soft.limit, hard.limit]
        ),
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert theirs.success
    assert solution.value == pytest.approx(theirs.fun, abs=1e-7)
    if seed % 2:
        assert torch.allclose(solution.alpha, torch.from_numpy(theirs.x[:n]), atol=1e-4)


def test_constraints_without_a_common_point_are_violated_least() -> None:
    """Coordinates that do not matter to the constraint still maximise the gain."""
    F, b = torch.eye(3, dtype=torch.float64), torch.tensor([1.0, 5.0, 0.5], dtype=torch.float64)
    need = Penalty(torch.tensor([-1.0, 1.0, 0.0], dtype=torch.float64), -1.5, math.inf)
    solution = solve_box_qp(F, b, lam=1.0, penalties=[need])
    assert not solution.feasible
    assert torch.allclose(solution.alpha, torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64), atol=1e-8)
    assert solution.kkt <= EXACT


def test_two_constraints_that_exclude_each_other() -> None:
    F, b = torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    ones = torch.ones(2, dtype=torch.float64)
    clash = [Penalty(ones, 0.5, math.inf), Penalty(-ones, -1.5, math.inf)]
    solution = solve_box_qp(F, b, lam=1.0, penalties=clash)
    assert not solution.feasible
    assert sum(max(0.0, float(p.slope @ solution.alpha) - p.limit) for p in clash) == pytest.approx(
        1.0, abs=1e-7
    )


def test_a_constraint_that_only_one_corner_meets_is_feasible() -> None:
    generator = torch.Generator().manual_seed(3)
    F, b, slope = fisher(6, 6, generator), normal(6, generator).abs(), normal(6, generator).abs()
    nothing = solve_box_qp(F, b, lam=0.1, penalties=[Penalty(slope, 0.0, math.inf)])
    assert nothing.feasible
    assert float(nothing.alpha.max()) <= 1e-9
    everything = solve_box_qp(F, b, lam=0.1, penalties=[Penalty(-slope, -float(slope.sum()), math.inf)])
    assert everything.feasible
    assert torch.allclose(everything.alpha, torch.ones(6, dtype=torch.float64), atol=1e-7)


def test_a_weight_above_the_multiplier_is_as_good_as_a_constraint() -> None:
    generator = torch.Generator().manual_seed(4)
    F, b, slope = fisher(12, 12, generator), normal(12, generator), normal(12, generator)
    free = solve_box_qp(F, b, lam=0.3)
    limit = float(slope @ free.alpha) - 0.3
    hard = solve_box_qp(F, b, lam=0.3, penalties=[Penalty(slope, limit, math.inf)])
    need = float(hard.multipliers[0])
    assert need > 0
    above = solve_box_qp(F, b, lam=0.3, penalties=[Penalty(slope, limit, 1.01 * need)])
    below = solve_box_qp(F, b, lam=0.3, penalties=[Penalty(slope, limit, 0.9 * need)])
    assert torch.allclose(above.alpha, hard.alpha, atol=1e-7)
    assert float(slope @ below.alpha) > limit + 1e-6
    assert float(below.multipliers[0]) == pytest.approx(0.9 * need)


def test_multipliers_are_the_price_of_a_tighter_limit() -> None:
    generator = torch.Generator().manual_seed(5)
    F, b, slope = fisher(10, 10, generator), normal(10, generator), normal(10, generator)
    limit = float(slope @ solve_box_qp(F, b, lam=0.3).alpha) - 0.4
    tight, at, loose = (
        solve_box_qp(F, b, lam=0.3, penalties=[Penalty(slope, limit + step, math.inf)])
        for step in (-1e-4, 0.0, 1e-4)
    )
    assert (tight.value - loose.value) / 2e-4 == pytest.approx(float(at.multipliers[0]), rel=1e-3)


def test_a_penalty_that_nothing_in_the_box_changes() -> None:
    eye, one = torch.eye(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    lower, upper = (torch.tensor([0.5, high], dtype=torch.float64) for high in (0.0, 1.0))
    first = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for limit, weight, feasible in [(0.4, math.inf, False), (0.5, math.inf, True), (0.4, 2.0, True)]:
        penalties = [Penalty(first, limit, weight)]
        solution = solve_box_qp(eye, one, lam=2.0, lower=lower, upper=upper, penalties=penalties)
        assert torch.allclose(solution.alpha, torch.full((2,), 0.5, dtype=torch.float64), atol=1e-9)
        assert solution.feasible == feasible
        assert solution.multipliers.tolist() == [0.0 if limit == 0.5 else weight]


def test_boxes_shift_scale_and_fix_strengths() -> None:
    F, b = torch.eye(4, dtype=torch.float64), torch.tensor([5.0, -5.0, 0.5, 5.0], dtype=torch.float64)
    lower = torch.tensor([-1.0, -1.0, -1.0, 0.25], dtype=torch.float64)
    upper = torch.tensor([2.0, 2.0, 2.0, 0.25], dtype=torch.float64)
    solution = solve_box_qp(F, b, lam=1.0, lower=lower, upper=upper)
    assert torch.allclose(
        solution.alpha, torch.tensor([2.0, -1.0, 0.5, 0.25], dtype=torch.float64), atol=1e-9
    )
    assert solution.alpha[[0, 1, 3]].tolist() == [2.0, -1.0, 0.25]


def test_strengths_at_a_bound_are_there_exactly() -> None:
    generator = torch.Generator().manual_seed(6)
    alpha = solve_box_qp(fisher(60, 80, generator), normal(60, generator) * 20, lam=1.0).alpha
    assert ((alpha == 0) | (alpha == 1) | ((alpha > 1e-6) & (alpha < 1 - 1e-6))).all()
    assert (alpha == 0).sum() > 5
    assert ((alpha > 0) & (alpha < 1)).sum() > 5


@pytest.mark.parametrize("rank", [10, 60])
def test_a_warm_start_changes_no_solution(rank: int) -> None:
    generator = torch.Generator().manual_seed(7)
    F, b = fisher(40, rank, generator), normal(40, generator)
    penalties = [Penalty(normal(40, generator), 0.3, 0.5), Penalty(normal(40, generator), 0.1, math.inf)]
    lams = lambda_grid(F, b, 7).tolist()
    order = [3, 0, 5, 1, 2, 4, 6]
    path = strength_path(F, b, lams=[lams[i] for i in order], penalties=penalties)
    for index, warm in zip(order, path, strict=True):
        cold = solve_box_qp(F, b, lam=lams[index], penalties=penalties)
        assert warm.kkt <= EXACT
        assert warm.value == pytest.approx(cold.value, rel=1e-8, abs=1e-9)
        # F alpha is unique where alpha is not.
        assert torch.allclose(F @ warm.alpha, F @ cold.alpha, atol=1e-6 * float(F.abs().max()))
        if rank > 40:
            assert torch.allclose(warm.alpha, cold.alpha, atol=1e-6)


@settings(deadline=None, max_examples=10)
@given(st.integers(2, 25), st.integers(1, 30), st.booleans(), st.integers(0, 2**31))
def test_along_the_path_drop_and_drift_fall_as_lambda_grows(n: int, rank: int, hard: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    F, b = fisher(n, rank, generator), normal(n, generator)
    b[0] = b[0].abs() + 0.1
    penalties = [Penalty(normal(n, generator), 0.2, math.inf)] if hard else []
    path = strength_path(F, b, lams=lambda_grid(F, b, 8), penalties=penalties)
    drops, drifts = zip(*(predicted(F, b, point.alpha) for point in path), strict=True)
    assert drifts[-1] == pytest.approx(float(path[-1].alpha @ F @ path[-1].alpha) / 2)
    for values in (drops, drifts):
        slack = 1e-6 * max(map(abs, values))
        assert all(later >= before - slack for before, later in itertools.pairwise(values))


@pytest.mark.parametrize("rank", [20, 60, 200])
@pytest.mark.parametrize("sign", [0.0, 1.0])
def test_the_grid_runs_from_hardly_any_edit_to_practically_all_of_it(rank: int, sign: float) -> None:
    """Also with units that all push predictions one way, slopes that are noise, and units without a price.

    A singular F leaves combinations of units that cost nothing: they are taken at every lambda.
    """
    generator = torch.Generator().manual_seed(rank)
    scores = torch.randn(60, rank, generator=generator, dtype=torch.float64) + sign
    scores[10] = 0.0
    F, b = scores @ scores.T, normal(60, generator)
    b[20:40] *= 1e-9
    lams = lambda_grid(F, b, 9)
    assert torch.allclose(lams[1:] / lams[:-1], (lams[1] / lams[0]).expand(8))
    assert lams[1] < lams[0]
    path = strength_path(F, b, lams=lams)
    most = float(b.clamp(min=0).sum())
    free = float(b[10].clamp(min=0))
    if rank >= 60:
        assert predicted(F, b, path[0].alpha)[0] - free <= 0.1 * most
    assert predicted(F, b, path[-1].alpha)[0] >= 0.95 * most


def test_a_path_of_500_units_is_a_matter_of_seconds() -> None:
    """Active sets do it: an interior point for each of the lambdas alone would need 30 x 15 factorisations."""
    generator = torch.Generator().manual_seed(8)
    scores = torch.randn(500, 512, generator=generator, dtype=torch.float64) + 0.3
    F, b = scores @ scores.T / 512, normal(500, generator) + 0.5
    path = strength_path(
        F, b, lams=lambda_grid(F, b, 30), penalties=[Penalty(normal(500, generator), 1.0, 0.5)]
    )
    assert max(point.kkt for point in path) <= EXACT


def test_what_cannot_be_solved_is_said() -> None:
    eye, one = torch.eye(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    with pytest.raises(EditError, match="finite"):
        solve_box_qp(eye, one * math.nan, lam=1.0)
    with pytest.raises(EditError, match="finite"):
        solve_box_qp(eye, one, lam=-1.0)
    with pytest.raises(EditError, match="positive semi-definite"):
        solve_box_qp(-eye, one, lam=1.0)
    with pytest.raises(EditError, match="symmetric"):
        solve_box_qp(eye + torch.tensor([0.0, 0.5]), one, lam=1.0)
    with pytest.raises(EditError, match="empty"):
        solve_box_qp(eye, one, lam=1.0, lower=one, upper=0 * one)
    with pytest.raises(EditError, match="no unit"):
        solve_box_qp(eye[:0, :0], one[:0], lam=1.0)
    with pytest.raises(EditError, match="weighs"):
        solve_box_qp(eye, one, lam=1.0, penalties=[Penalty(one, 0.0, -1.0)])
    with pytest.raises(EditError, match="of 2 units 0 lower refusal"):
        lambda_grid(eye, -one, 5)
    with pytest.raises(EditError, match="3 lower refusal, 0 of them"):
        lambda_grid(torch.zeros(3, 3), torch.ones(3), 5)
