"""Convex quadratic programs in the unit box with hinges: a primal-dual interior point and an exact finish."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

_PROXIMAL = 1e-9
"""Weight of the pull towards the last point where the free block of Q is singular; its error fades by iterating."""
_MOST_STEPS = 80
"""Interior-point iterations; 10 to 25 are usual."""
_CAPS = (10.0, 1e3, 1e5, 1e8)
"""Slopes, relative to the problem, that stand in for a hard constraint's infinite one; each larger if too small."""
_MOST_SETS, _PATIENCE = 25, 8
"""Active sets that the finish tries before it gives up, in all and without progress."""


@dataclass(frozen=True)
class UnitProblem:
    """`min over 0 <= x <= 1 of x^T Q x / 2 - p^T x + sum_j w_j (c_j^T x - t_j)_+`.

    Attributes:
        Q: Positive semi-definite (n x n).
        p: Linear gain (n).
        C: One hinge a row (k x n).
        t: Where each hinge begins (k).
        w: Slope of each hinge, positive; infinite where `c_j^T x <= t_j` must hold (k).
    """

    Q: Float[Tensor, "n n"]
    p: Float[Tensor, " n"]
    C: Float[Tensor, "k n"]
    t: Float[Tensor, " k"]
    w: Float[Tensor, " k"]


@dataclass(frozen=True)
class UnitPoint:
    """A point of the box with the hinges' multipliers, `0 <= m <= w`, and its KKT residual."""

    x: Float[Tensor, " n"]
    m: Float[Tensor, " k"]
    residual: float


def kkt_residual(problem: UnitProblem, x: Float[Tensor, " n"], m: Float[Tensor, " k"]) -> float:
    """Largest violation of the KKT conditions, without units.

    With `g = Q x - p + C^T m` and `s = C x - t`, a point is optimal iff `x = clip(x - g / |g|, 0, 1)` and
    `m = clip(m + u s / r, 0, w)`. `|g|` is the largest entry of the three terms of `g`, the scale of OSQP's relative
    dual residual (Stellato et al. 2020), or of p where all are smaller; `r = |c|_1 + |t|`; `u = min(w, |g| / max |c|)`
    is the unit of a multiplier.
    """
    curve, push = problem.Q @ x, m @ problem.C
    scale = max(_largest(curve), _largest(push), _size(problem))
    worst = _largest(x - (x - (curve - problem.p + push) / scale).clamp(0, 1))
    if len(m):
        pressure, most = _pressure(problem, x, m, scale)
        unit = problem.w.minimum(scale / _row_size(problem.C))
        worst = max(worst, _largest(m / unit - pressure.clamp(min=0).minimum(most)))
    return worst


def _size(problem: UnitProblem) -> float:
    """Size of a gradient that matters: of p, or where that is 0 of Q, or of the hinges."""
    hinges = torch.where(problem.w.isinf(), 1.0, problem.w) * _row_size(problem.C)
    return _largest(problem.p) or _largest(problem.Q.diagonal()) or _largest(hinges) or 1.0


def _row_size(C: Float[Tensor, "k n"]) -> Float[Tensor, " k"]:
    return C.abs().amax(dim=1).clamp(min=1e-300)


def _pressure(
    problem: UnitProblem, x: Float[Tensor, " n"], m: Float[Tensor, " k"], scale: float
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """`m / u + s / r` and `w / u`: a hinge is off below 0, at its kink between, fully on above."""
    unit = problem.w.minimum(scale / _row_size(problem.C))
    reach = (problem.C.abs().sum(dim=1) + problem.t.abs()).clamp(min=1e-300)
    return m / unit + (problem.C @ x - problem.t) / reach, problem.w / unit


def solve_unit(problem: UnitProblem, start: UnitPoint | None, tolerance: float) -> UnitPoint:
    """The solution: active sets from `start` (None: the corner 0), else an interior point and active sets from there.

    The set method (Hintermueller, Ito, Kunisch 2002) needs few and small solves from a good start, but no theorem
    makes it arrive; the interior point always arrives, but never lands on a bound. What either returns is judged by
    its KKT residual alone.
    """
    corner = UnitPoint(torch.zeros_like(problem.p), torch.zeros_like(problem.t), 0.0)
    known = start or corner
    best = _active_sets(problem, known.x, known.m, tolerance)
    size = max(_size(problem), _largest(problem.Q.diagonal()))
    for times in _CAPS if bool(problem.w.isinf().any()) else (math.inf,):
        if best.residual <= tolerance:
            break
        capped = replace(problem, w=problem.w.minimum(times * size / _row_size(problem.C)))
        inner = _interior_point(capped, tolerance)
        exact = _active_sets(problem, inner.x, inner.m, tolerance)
        best = min(best, exact, key=lambda point: point.residual)
    return best


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


def _active_sets(
    problem: UnitProblem, x: Float[Tensor, " n"], m: Float[Tensor, " k"], tolerance: float
) -> UnitPoint:
    """Guess which bounds and hinges bind, solve the rest exactly, and correct the guess by the signs found."""
    Q, p, C, w = problem.Q, problem.p, problem.C, problem.w
    size = max(_size(problem), _largest(m @ C))
    step = 1.0 / Q.diagonal().clamp(min=size)
    best, stuck = UnitPoint(x, m, kkt_residual(problem, x, m)), 0
    for _ in range(_MOST_SETS):
        trial = x - step * (Q @ x - p + m @ C)
        x = torch.where(trial <= 0, 0.0, torch.where(trial >= 1, 1.0, x))
        free = ((trial > 0) & (trial < 1)).nonzero().flatten()
        pressure, most = _pressure(problem, x, m, size)
        m = torch.where(pressure <= 0, 0.0, torch.where(pressure >= most, w, m))
        kink = ((pressure > 0) & (pressure < most)).nonzero().flatten()
        x, m = _equality_step(problem, x, m, free, kink)
        inside, held = x.clamp(0, 1), m.clamp(min=0).minimum(w)
        point = UnitPoint(inside, held, kkt_residual(problem, inside, held))
        stuck = 0 if point.residual < best.residual else stuck + 1
        best = min(best, point, key=lambda each: each.residual)
        if point.residual <= tolerance or stuck == _PATIENCE:
            break
    return best


def _equality_step(
    problem: UnitProblem, x: Float[Tensor, " n"], m: Float[Tensor, " k"], free: Tensor, kink: Tensor
) -> tuple[Float[Tensor, " n"], Float[Tensor, " k"]]:
    """One proximal Newton step in the free strengths and the multipliers of the hinges that sit at their kink.

    `[Q_ff + E, C_f^T; C_f, -E'] [dx; dm] = [-(Q x - p + C^T m)_f; -(C x - t)_kink]`.
    """
    Q, C = problem.Q, problem.C
    n_free = len(free)
    if n_free + len(kink) == 0:
        return x, m
    rows = C[kink]
    pull = _PROXIMAL * Q.diagonal()[free].clamp(min=_size(problem))
    system = torch.zeros(n_free + len(kink), n_free + len(kink), dtype=Q.dtype)
    system[:n_free, :n_free] = Q[free][:, free]
    system[n_free:, :n_free] = rows[:, free]
    system[:n_free, n_free:] = rows[:, free].T
    system.diagonal()[:n_free] += pull
    system.diagonal()[n_free:] -= _PROXIMAL * rows.square().sum(dim=1) / _size(problem)
    slope = (Q @ x - problem.p + m @ C)[free]
    change = torch.linalg.solve(system, -torch.cat([slope, rows @ x - problem.t[kink]]))
    x, m = x.clone(), m.clone()
    x[free] += change[:n_free]
    m[kink] += change[n_free:]
    return x, m


@dataclass(frozen=True)
class _Interior:
    """Strictly positive pairs of the interior point: (x, low), (1 - x, high), (slack, m), (excess, w - m)."""

    x: Tensor
    low: Tensor
    high: Tensor
    m: Tensor
    slack: Tensor
    excess: Tensor

    def products(self, w: Tensor) -> list[Tensor]:
        return [self.x * self.low, (1 - self.x) * self.high, self.slack * self.m, self.excess * (w - self.m)]

    def moved(self, change: _Interior, primal: float, dual: float) -> _Interior:
        return _Interior(
            self.x + primal * change.x,
            self.low + dual * change.low,
            self.high + dual * change.high,
            self.m + dual * change.m,
            self.slack + primal * change.slack,
            self.excess + primal * change.excess,
        )


def _interior_point(problem: UnitProblem, tolerance: float) -> UnitPoint:
    """Mehrotra's predictor and corrector (1992); `slack - excess = t - C x`, and multipliers of hinges are `m < w`.

    Hinges keep a strict interior in both the strengths and the multipliers whatever the limits are, so a constraint
    that touches the box in a single corner is no special case.
    """
    scale = (
        max(_largest(problem.p), _largest(problem.Q.diagonal()) * 1e-3, _largest(problem.w @ problem.C))
        or 1.0
    )
    Q, p, C, t, w = problem.Q / scale, problem.p / scale, problem.C, problem.t, problem.w / scale
    x = torch.full_like(p, 0.5)
    gap = C @ x - t
    at = _Interior(
        x, torch.ones_like(p), torch.ones_like(p), w / 2, (-gap).clamp(min=0) + 1, gap.clamp(min=0) + 1
    )
    best = UnitPoint(x, problem.w / 2, kkt_residual(problem, x, problem.w / 2))
    for _ in range(_MOST_STEPS):
        newton = _Newton(UnitProblem(Q, p, C, t, w), at)
        products = at.products(w)
        mu = _mean(products)
        guess = newton.direction(products)
        ahead = at.moved(guess, *_room(at, guess, w, 1.0))
        centre = mu * min(1.0, _mean(ahead.products(w)) / mu) ** 3
        second = [guess.x * guess.low, -guess.x * guess.high, guess.slack * guess.m, -guess.excess * guess.m]
        change = newton.direction([a + b - centre for a, b in zip(products, second, strict=True)])
        at = at.moved(change, *_room(at, change, w, 0.995))
        point = UnitPoint(at.x, at.m * scale, kkt_residual(problem, at.x, at.m * scale))
        best = min(best, point, key=lambda each: each.residual)
        # On to well below the tolerance: bounds that bind show only when the products are small.
        edge = min(float((1 - at.x).min()), *((w - at.m) / w).tolist(), 1.0)
        if point.residual <= 1e-3 * tolerance or edge < 1e-14:
            break
    return best


class _Newton:
    """The linearised KKT system at a point, factorised once for the predictor and the corrector."""

    def __init__(self, problem: UnitProblem, at: _Interior) -> None:
        self.problem, self.at = problem, at
        self.free = problem.w - at.m
        H = problem.Q + torch.diag(at.low / at.x + at.high / (1 - at.x))
        factor, failed = torch.linalg.cholesky_ex(H)
        ridge = 1e-14 * float(H.diagonal().max())
        while int(failed):
            factor, failed = torch.linalg.cholesky_ex(H + ridge * torch.eye(len(H), dtype=H.dtype))
            ridge *= 100
        self.factor = factor
        self.solved = torch.cholesky_solve(problem.C.T, factor)
        self.schur = problem.C @ self.solved + torch.diag(at.slack / at.m + at.excess / self.free)
        self.dual = problem.Q @ at.x - problem.p + at.m @ problem.C - at.low + at.high
        self.primal = at.slack - at.excess + problem.C @ at.x - problem.t

    def direction(self, products: list[Tensor]) -> _Interior:
        """The step that takes each pair's product down by `products`, to first order, and closes both residuals."""
        low, high, hinge, above = products
        at = self.at
        right = -self.dual - low / at.x + high / (1 - at.x)
        bent = hinge / at.m - above / self.free - self.primal
        straight = torch.cholesky_solve(right[:, None], self.factor)[:, 0]
        dm = torch.linalg.solve(self.schur, self.problem.C @ straight - bent)
        dx = straight - self.solved @ dm
        return _Interior(
            dx,
            (-low - at.low * dx) / at.x,
            (-high + at.high * dx) / (1 - at.x),
            dm,
            (-hinge - at.slack * dm) / at.m,
            (-above + at.excess * dm) / self.free,
        )


def _mean(products: list[Tensor]) -> float:
    return float(torch.cat(products).mean())


def _room(at: _Interior, change: _Interior, w: Tensor, share: float) -> tuple[float, float]:
    """Longest primal and dual steps, at most 1, that use up no more than `share` of any positive quantity."""
    primal = [(at.x, change.x), (1 - at.x, -change.x), (at.slack, change.slack), (at.excess, change.excess)]
    dual = [(at.low, change.low), (at.high, change.high), (at.m, change.m), (w - at.m, -change.m)]

    def longest(pairs: list[tuple[Tensor, Tensor]]) -> float:
        value, slope = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        falling = slope < 0
        steps = -value[falling] / slope[falling]
        return min(1.0, share * float(steps.min())) if len(steps) else 1.0

    return longest(primal), longest(dual)
