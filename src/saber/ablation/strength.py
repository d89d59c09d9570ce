"""Strengths of candidate units by quadratic programs: refusal's slope against the Fisher matrix (METHOD section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from saber.ablation.box_qp import UnitPoint, UnitProblem, solve_unit
from saber.errors import EditError

_USEFUL = 0.99
"""Share of all positive slopes that the units called useful carry together."""
_FAINT = 0.02
"""Strength of the strongest unit at the strictest end of the grid of lambdas."""
_ASYMMETRY = 1e-4
"""Largest difference between F and its transpose, relative to its largest diagonal entry."""


@dataclass(frozen=True)
class Penalty:
    """A hinge `weight * (slope^T alpha - limit)_+`: what an edit costs beyond a limit.

    Attributes:
        slope: c, the predicted drop of log-odds per unit of strength (n), e.g. of refusals that must stay.
        limit: t, the drop that costs nothing.
        weight: w >= 0; `math.inf` makes `slope^T alpha <= limit` a constraint.
    """

    slope: Float[Tensor, " n"]
    limit: float
    weight: float


@dataclass(frozen=True)
class Solution:
    """Strengths that solve one quadratic program, with the proof.

    Attributes:
        alpha: Strengths (n), float64.
        value: What they make of the objective; constraints do not enter.
        multipliers: One a penalty, in [0, weight]: by how much the optimum rises per unit of a tighter limit.
        kkt: Largest violation of the KKT conditions, relative to the sizes of the terms.
        feasible: False when no strengths in the box meet all constraints; then `alpha` is the best among the
            strengths that violate them least in sum, and the other fields are those of the limits relaxed to there.
    """

    alpha: Float[Tensor, " n"]
    value: float
    multipliers: Float[Tensor, " k"]
    kkt: float
    feasible: bool


def solve_box_qp(
    F: Float[Tensor, "n n"],
    b: Float[Tensor, " n"],
    *,
    lam: float,
    lower: Float[Tensor, " n"] | None = None,
    upper: Float[Tensor, " n"] | None = None,
    penalties: Sequence[Penalty] = (),
    start: Solution | None = None,
    tolerance: float = 1e-9,
) -> Solution:
    """Minimise `(lam/2) a^T F a - b^T a + sum_j w_j (c_j^T a - t_j)_+` over `lower <= a <= upper`.

    F may be singular: in the bounded box a minimum exists all the same, and `F a` is unique where `a` is not.

    Args:
        F: Fisher matrix, positive semi-definite.
        b: Slope of the refusal log-odds.
        lam: Price of drift, nats of log-odds per nat of drift, >= 0.
        lower: Least strengths; None is 0.
        upper: Largest strengths; None is 1.
        penalties: Hinges and constraints, few.
        start: Solution of a similar problem with as many units and penalties; saves time, changes no optimum.
        tolerance: KKT residual at which a solution counts as exact.

    Raises:
        EditError: If there is no unit, F, b or a penalty is not finite, F is no Fisher matrix, or a box is empty.
    """
    box = _Box.of(b, lower, upper)
    _check(F, b, lam, penalties)
    counted = [j for j, penalty in enumerate(penalties) if penalty.weight > 0 and box.moves(penalty)]
    problem = box.problem(F.double(), b.double(), lam, [penalties[j] for j in counted])
    problem, relaxed = _relax(problem, tolerance)
    known = None
    if start is not None:
        held = start.multipliers[counted].nan_to_num(posinf=0.0)
        known = UnitPoint(box.x(start.alpha), held, math.inf)
    found = solve_unit(problem, known, tolerance)
    alpha = box.alpha(found.x)
    value = float(0.5 * lam * (alpha @ F.double() @ alpha) - b.double() @ alpha)
    multipliers = torch.zeros(len(penalties), dtype=torch.float64)
    multipliers[counted] = found.m
    for j, penalty in enumerate(penalties):
        excess = float(penalty.slope.double() @ alpha) - penalty.limit
        if 0 < penalty.weight < math.inf:
            value += penalty.weight * max(0.0, excess)
        if excess > tolerance * abs(penalty.limit) and j not in counted and penalty.weight > 0:
            # No strength in the box changes it.
            multipliers[j] = penalty.weight
            relaxed = relaxed or penalty.weight == math.inf
    return Solution(alpha, value, multipliers, found.residual, not relaxed)


def strength_path(
    F: Float[Tensor, "n n"],
    b: Float[Tensor, " n"],
    *,
    lams: Sequence[float] | Float[Tensor, " points"],
    lower: Float[Tensor, " n"] | None = None,
    upper: Float[Tensor, " n"] | None = None,
    penalties: Sequence[Penalty] = (),
    tolerance: float = 1e-9,
) -> tuple[Solution, ...]:
    """Solutions along a sweep of lambda: the predicted Pareto front of refusal against drift.

    Solved from the largest lambda to the smallest, each from the one before; returned in the order of `lams`.
    """
    prices = [float(lam) for lam in lams]
    solved: dict[int, Solution] = {}
    last: Solution | None = None
    for index in sorted(range(len(prices)), key=lambda i: -prices[i]):
        last = solve_box_qp(
            F,
            b,
            lam=prices[index],
            lower=lower,
            upper=upper,
            penalties=penalties,
            start=last,
            tolerance=tolerance,
        )
        solved[index] = last
    return tuple(solved[index] for index in range(len(prices)))


def predicted(
    F: Float[Tensor, "n n"], b: Float[Tensor, " n"], alpha: Float[Tensor, " n"]
) -> tuple[float, float]:
    """What strengths are predicted to do: `b^T a`, nats of refusal log-odds, and `a^T F a / 2`, nats per token."""
    at = alpha.double()
    return float(b.double() @ at), float(0.5 * at @ F.double() @ at)


def lambda_grid(F: Float[Tensor, "n n"], b: Float[Tensor, " n"], points: int) -> Float[Tensor, " points"]:
    """Geometric grid of lambdas, from hardly any edit to practically all of it, for strengths in [0, 1].

    Useful units are the fewest that carry 99 % of the positive slopes. At the first lambda the largest of their
    strengths alone, `b_i / (lam F_ii)`, is 0.02. The last is the larger of two lambdas that each suffice for all:

    - `min_i b_i / sum_j max(F_ij, 0)` over useful units: below it `lam (F a)_i < b_i` for every a in the box, so
      every useful unit sits at its bound.
    - `2 (1 - 0.99) b^T u / (u^T F u)`, u the useful units at 1: the optimum is no worse than u, so its drop is at
      least 99 % of theirs.

    With fewer samples than units F is singular, and combinations of units that it sees no drift in are taken at
    every lambda: that is a lack of samples, not a free edit.

    Raises:
        EditError: If there is no unit, none is predicted to lower refusal, or none that does costs any drift.
    """
    if points < 1:
        raise ValueError(f"a grid of {points} points")
    _check(F, b, 1.0, ())
    F, b = F.double(), b.double()
    gain = b.clamp(min=0)
    order = gain.argsort(descending=True, stable=True)
    needed = int((gain[order].cumsum(0) < _USEFUL * gain.sum()).sum()) + 1
    useful = order[:needed]
    useful = useful[gain[useful] > 0]
    cost = F.diagonal()[useful]
    priced = cost > 1e-12 * F.diagonal().max()
    if not bool(priced.any()):
        raise EditError(
            f"of {len(b)} units {int((b > 0).sum())} lower refusal, {int(priced.sum())} of them at any drift",
            hint="probe more prompts or more layers: there is no trade-off to draw",
        )
    largest = float((gain[useful] / cost)[priced].max()) / _FAINT
    at_bound = float((gain[useful] / F[useful].clamp(min=0).sum(dim=1))[priced].min())
    drift = float(F[useful][:, useful].sum())
    enough = 2 * (1 - _USEFUL) * float(gain[useful].sum()) / drift if drift > 0 else 0.0
    smallest = min(max(at_bound, enough), largest)
    return torch.logspace(math.log10(largest), math.log10(smallest), points, dtype=torch.float64)


@dataclass(frozen=True)
class _Box:
    """`alpha = lower + width * x`, `0 <= x <= 1`; units of no width keep `x = 0`."""

    lower: Float[Tensor, " n"]
    width: Float[Tensor, " n"]

    @staticmethod
    def of(b: Tensor, lower: Tensor | None, upper: Tensor | None) -> _Box:
        low = torch.zeros(len(b), dtype=torch.float64) if lower is None else lower.double()
        high = torch.ones(len(b), dtype=torch.float64) if upper is None else upper.double()
        width = high - low
        if not bool((width >= 0).all() and width.isfinite().all()):
            raise EditError(
                f"the box of {int((~(width >= 0)).sum())} of {len(b)} strengths is empty or not finite",
                hint="give finite limits, lower <= upper",
            )
        return _Box(low, width)

    def alpha(self, x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Strengths; a unit at its upper bound is there exactly."""
        return torch.where(x == 1, self.lower + self.width, self.lower + self.width * x)

    def x(self, alpha: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Known strengths in the unit box."""
        return ((alpha - self.lower) / torch.where(self.width > 0, self.width, 1.0)).clamp(0, 1)

    def moves(self, penalty: Penalty) -> bool:
        """Whether anything in the box changes what the penalty looks at."""
        return bool((penalty.slope.double() * self.width != 0).any())

    def problem(self, F: Tensor, b: Tensor, lam: float, penalties: Sequence[Penalty]) -> UnitProblem:
        """The same problem in `x`."""
        slopes = [penalty.slope.double() for penalty in penalties]
        C = torch.stack(slopes) if slopes else b.new_zeros(0, len(b))
        t = torch.tensor([penalty.limit for penalty in penalties], dtype=torch.float64)
        w = torch.tensor([penalty.weight for penalty in penalties], dtype=torch.float64)
        F = lam * 0.5 * (F + F.T)
        return UnitProblem(
            self.width[:, None] * F * self.width,
            self.width * (b - F @ self.lower),
            C * self.width,
            t - C @ self.lower,
            w,
        )


def _relax(problem: UnitProblem, tolerance: float) -> tuple[UnitProblem, bool]:
    """The problem with limits that the box admits, and whether they had to be relaxed."""
    hard = problem.w.isinf()
    C, t = problem.C[hard], problem.t[hard]
    # Sufficient in nearly every case: no edit at all, or one constraint that some corner meets.
    if bool((t >= 0).all()) or (len(t) == 1 and float(C.clamp(max=0).sum()) <= float(t)):
        return problem, False
    size = C.abs().amax(dim=1).max().clamp(min=1e-300)
    flat = UnitProblem(
        torch.zeros_like(problem.Q), torch.zeros_like(problem.p), C, t, torch.ones_like(t) / size
    )
    nearest = solve_unit(flat, None, tolerance)
    excess = (C @ nearest.x - t).clamp(min=0)
    slack = 10 * tolerance * (C.abs().sum(dim=1) + t.abs())
    if bool((excess <= slack).all()):
        return problem, False
    limits = problem.t.clone()
    limits[hard] = t + excess
    return replace(problem, t=limits), True


def _check(F: Tensor, b: Tensor, lam: float, penalties: Sequence[Penalty]) -> None:
    if not len(b):
        raise EditError("there is no unit to give a strength to", hint="choose more layers or directions")
    finite = bool(F.isfinite().all() and b.isfinite().all()) and 0 <= lam < math.inf
    for penalty in penalties:
        finite = finite and bool(penalty.slope.isfinite().all()) and math.isfinite(penalty.limit)
        if not penalty.weight >= 0:
            raise EditError(f"a penalty weighs {penalty.weight}", hint="weights are 0 or more, or infinite")
    if not finite:
        raise EditError(
            "slopes, Fisher matrix, limits or lambda are not finite numbers",
            hint="differentiate the model in float32 or bfloat16, with model.dtype",
        )
    size, skew = float(F.diagonal().abs().max()), float((F - F.T).abs().max())
    shifted = F.double() + (1e-6 * size + 1e-300) * torch.eye(len(b), dtype=torch.float64)
    if skew > _ASYMMETRY * size or int(torch.linalg.cholesky_ex(shifted)[1]):
        raise EditError(
            f"F ({len(b)} x {len(b)}) is not symmetric and positive semi-definite",
            hint="pass the Fisher matrix as a sum of outer products of score vectors",
        )
