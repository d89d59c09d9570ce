"""Strengths from the faintest edit to the strongest: box QPs in a trust region, linearised where they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saber.ablation.strength import solve_box_qp

_ACCEPTED = 1e-3
"""Least share of the predicted decrease that a step must reach."""
_SETTLED = 1e-3
"""A predicted decrease below this share of the merit ends the steps at one lambda."""
_SMALLEST = 1e-2
"""Trust radius below which no further step is tried."""


@dataclass(frozen=True, eq=False)
class Role:
    """How one role's refusal log-odds answer to the strengths, at one point.

    Attributes:
        values: Refusal log-odds of each prompt, nats.
        slopes: Their derivatives by the strengths.
    """

    values: Float[Tensor, " prompts"]
    slopes: Float[Tensor, "prompts n"]


@dataclass(frozen=True)
class Wish:
    """What the log-odds of a role should become: `weight * mean softplus(sign * (s + sign * margin))`.

    Attributes:
        role: Name of the role.
        lower: True where refusals should go, False where they should stay.
        weight: Weight of the role's mean.
        margin: Nats beyond the balance from which a prompt counts as settled.
    """

    role: str
    lower: bool
    weight: float = 1.0
    margin: float = 2.0


@dataclass(frozen=True, eq=False)
class Local:
    """The refusal part of the merit at one point, to second order: softplus of linear log-odds is convex.

    Attributes:
        value: The merit's refusal part, nats.
        slope: Its gradient.
        curvature: Gauss-Newton part of its Hessian, positive semi-definite.
        means: Mean refusal log-odds of every role, nats.
    """

    value: float
    slope: Float[Tensor, " n"]
    curvature: Float[Tensor, "n n"]
    means: dict[str, float]


@dataclass(frozen=True, eq=False)
class PathPoint:
    """Strengths at one lambda.

    Attributes:
        lam: Weight of drift against refusal.
        alpha: Strengths (n), float64.
        means: Mean refusal log-odds of every role on the prompts that were differentiated, nats.
        drift: `alpha^T F alpha / 2`, nats per token.
        kkt: KKT residual of the last quadratic program.
        looks: Linearisations that it took.
    """

    lam: float
    alpha: Float[Tensor, " n"]
    means: dict[str, float]
    drift: float
    kkt: float
    looks: int


def merit(roles: dict[str, Role], wishes: Sequence[Wish]) -> Local:
    """Refusal part of the merit, its gradient and its curvature, from every role's log-odds and slopes.

    With `z = sign * s + margin` (sign +1 where refusals should go, -1 where they should stay) and `sigma` the logistic
    function, the gradient is `mean sigma(z) sign slope` and the Gauss-Newton curvature
    `mean sigma(z) (1 - sigma(z)) slope slope^T`: prompts that are settled no longer pull.
    """
    n = next(iter(roles.values())).slopes.shape[1]
    value, slope = 0.0, torch.zeros(n, dtype=torch.float64)
    curvature = torch.zeros(n, n, dtype=torch.float64)
    for wish in wishes:
        if wish.role not in roles or not wish.weight:
            continue
        sign = 1.0 if wish.lower else -1.0
        z = sign * roles[wish.role].values.double() + wish.margin
        slopes = sign * roles[wish.role].slopes.double()
        pull = wish.weight * torch.sigmoid(z) / len(z)
        value += wish.weight * float(torch.nn.functional.softplus(z).mean())
        slope += pull @ slopes
        curvature += slopes.T @ ((pull * (1.0 - torch.sigmoid(z)))[:, None] * slopes)
    return Local(value, slope, curvature, {name: float(role.values.mean()) for name, role in roles.items()})


def follow_path(
    local: Callable[[Float[Tensor, " n"]], Local],
    fisher: Float[Tensor, "n n"],
    *,
    lams: Sequence[float],
    upper: Float[Tensor, " n"],
    start: Float[Tensor, " n"] | None = None,
    radius: float = 0.5,
    steps: int = 3,
    on_point: Callable[[PathPoint], None] | None = None,
) -> tuple[PathPoint, ...]:
    """Minimise `local(alpha).value + (lam / 2) alpha^T F alpha` over the box, for each lambda, warm-started.

    Every step solves the box QP of the merit linearised at the current strengths, within `radius` of them (largest
    change of a strength). A step that lowers the merit by too little of what was predicted is taken back and the
    radius halved; one that keeps its promise at the rim doubles it.

    Args:
        local: The refusal part of the merit at some strengths; one call is one pass through the model.
        fisher: F, float64, positive semi-definite.
        lams: In the order in which they are followed, largest first.
        upper: Largest strengths.
        start: Where to begin; 0 when left out.
        radius: First trust radius.
        steps: Most steps at one lambda.
        on_point: Called with each point as it is found.
    """
    alpha = torch.zeros_like(upper) if start is None else start.clamp(max=upper)
    here, looks = local(alpha), 1
    points: list[PathPoint] = []
    for lam in lams:
        kkt, reach = 0.0, radius
        for _ in range(steps):
            trial, promised, kkt = _step(here, alpha, fisher, lam, upper, reach)
            now = here.value + _cost(fisher, alpha, lam)
            if promised <= _SETTLED * max(abs(now), 1e-12):
                break
            there = local(trial)
            looks += 1
            kept = (now - there.value - _cost(fisher, trial, lam)) / promised
            far = float((trial - alpha).abs().max()) >= 0.999 * reach
            if kept > _ACCEPTED:
                alpha, here = trial, there
            reach = reach / 2 if kept < 0.25 else 2 * reach if kept > 0.75 and far else reach
            if reach < _SMALLEST:
                break
        points.append(PathPoint(lam, alpha, here.means, _cost(fisher, alpha, 1.0), kkt, looks))
        looks = 0
        if on_point:
            on_point(points[-1])
    return tuple(points)


def _step(
    here: Local, alpha: Tensor, fisher: Tensor, lam: float, upper: Tensor, radius: float
) -> tuple[Tensor, float, float]:
    """The QP's minimum within the trust region, the decrease that it promises, and its KKT residual."""
    found = solve_box_qp(
        here.curvature + lam * fisher,
        here.curvature @ alpha - here.slope,
        lam=1.0,
        lower=(alpha - radius).clamp(min=0.0),
        upper=torch.minimum(alpha + radius, upper),
    )
    step = found.alpha - alpha
    change = here.slope @ step + step @ here.curvature @ step / 2
    promised = _cost(fisher, alpha, lam) - float(change) - _cost(fisher, found.alpha, lam)
    return found.alpha, promised, found.kkt


def _cost(fisher: Tensor, alpha: Tensor, lam: float) -> float:
    return lam * float(alpha @ fisher @ alpha) / 2
