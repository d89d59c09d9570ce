"""The path of strengths: merit and its derivatives, and box QPs in a trust region where the optimum is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from saber.ablation.path import Local, PathPoint, Role, Wish, follow_path, merit

N = 6
LAMS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
WISHES = (Wish("harmful", True), Wish("preserve", False, 0.7, 1.5))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fisher(seed: int = 3) -> Tensor:
    root = drawn(2 * N, N, seed=seed)
    return root.T @ root / len(root)


def linear_roles(seed: int = 0) -> Callable[[Tensor], dict[str, Role]]:
    """Log-odds that are linear in the strengths: harmful ones fall, and the preserved ones with them."""
    start = {"harmful": 3.0 + drawn(8, seed=seed), "preserve": 2.0 + drawn(5, seed=seed + 1)}
    slopes = {"harmful": drawn(8, N, seed=seed + 2) - 2.0, "preserve": drawn(5, N, seed=seed + 3) - 0.5}

    def roles(alpha: Tensor) -> dict[str, Role]:
        return {name: Role(start[name] + slopes[name] @ alpha, slopes[name]) for name in start}

    return roles


def at(roles: Callable[[Tensor], dict[str, Role]], wishes: tuple[Wish, ...] = WISHES) -> Callable[..., Local]:
    return lambda alpha: merit(roles(alpha), wishes)


def whole(local: Local, fisher: Tensor, alpha: Tensor, lam: float) -> float:
    return local.value + lam * float(alpha @ fisher @ alpha) / 2


def optimum(local: Callable[[Tensor], Local], f: Tensor, lam: float, upper: Tensor) -> Tensor:
    """Projected gradient with backtracking: slow, and nothing of it is shared with what is tested."""
    alpha, step = torch.zeros(N, dtype=torch.float64), 1.0
    value = whole(local(alpha), f, alpha, lam)
    for _ in range(3000):
        slope = local(alpha).slope + lam * (f @ alpha)
        while True:
            new = (alpha - step * slope).clamp(min=0.0).minimum(upper)
            found = whole(local(new), f, new, lam)
            if found <= value - 0.5 * float(slope @ (alpha - new)) or step < 1e-12:
                break
            step /= 2
        if float((new - alpha).abs().max()) < 1e-10:
            break
        alpha, value, step = new, found, 2 * step
    return alpha


def test_the_merit_is_the_mean_softplus_of_what_is_wished() -> None:
    roles = {
        "harmful": Role(torch.tensor([1.0, -4.0]), drawn(2, N)),
        "preserve": Role(torch.ones(1), drawn(1, N)),
    }
    found = merit(roles, WISHES)
    up, down = torch.nn.functional.softplus(torch.tensor([3.0, -2.0])).mean(), torch.tensor(0.5)
    wanted = up + 0.7 * torch.nn.functional.softplus(down)
    assert found.value == pytest.approx(float(wanted), rel=1e-6)
    assert found.means == {"harmful": -1.5, "preserve": 1.0}


@pytest.mark.parametrize("seed", range(4))
def test_gradient_and_curvature_are_those_of_finite_differences(seed: int) -> None:
    roles = linear_roles(seed)
    alpha = torch.rand(N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    here, h = at(roles)(alpha), 1e-5
    ahead = [at(roles)(alpha + h * axis) for axis in torch.eye(N, dtype=torch.float64)]
    back = [at(roles)(alpha - h * axis) for axis in torch.eye(N, dtype=torch.float64)]
    slope = torch.tensor([(a.value - b.value) / (2 * h) for a, b in zip(ahead, back, strict=True)])
    bend = torch.stack([(a.slope - b.slope) / (2 * h) for a, b in zip(ahead, back, strict=True)])
    assert torch.allclose(here.slope, slope.double(), atol=1e-6)
    # Log-odds are linear here, so the Gauss-Newton part is the whole Hessian.
    assert torch.allclose(here.curvature, bend, atol=1e-6)
    assert float(torch.linalg.eigvalsh(here.curvature).min()) >= -1e-12


def test_settled_prompts_no_longer_pull() -> None:
    slopes = torch.ones(1, N, dtype=torch.float64)
    far, near = (
        merit({"harmful": Role(torch.tensor([value]), slopes)}, WISHES).slope.norm()
        for value in (-30.0, 30.0)
    )
    assert float(far) < 1e-9
    assert float(near) == pytest.approx(N**0.5)
    unasked = merit({"harmful": Role(torch.tensor([30.0]), slopes)}, (Wish("harmful", True, 0.0),))
    assert (unasked.value, float(unasked.slope.norm())) == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_path_is_optimal_where_log_odds_are_linear(seed: int) -> None:
    """Convex, so the optimum is known; steps end when a thousandth of the merit is left to gain."""
    local, f, upper = at(linear_roles(seed)), fisher(seed), torch.full((N,), 1.0, dtype=torch.float64)
    upper[2] = 0.3
    points = follow_path(local, f, lams=LAMS, upper=upper, steps=40)
    assert [point.lam for point in points] == list(LAMS)
    for point in points:
        best = optimum(local, f, point.lam, upper)
        least = whole(local(best), f, best, point.lam)
        assert 0.0 <= whole(local(point.alpha), f, point.alpha, point.lam) - least + 1e-9 <= 2e-3 * least
        assert point.kkt <= 1e-6
        assert point.drift == pytest.approx(float(point.alpha @ f @ point.alpha) / 2)
        assert point.means == pytest.approx(local(point.alpha).means)


def test_along_the_path_drift_grows_and_refusal_falls() -> None:
    local, upper = at(linear_roles(), (Wish("harmful", True),)), torch.ones(N, dtype=torch.float64)
    points = follow_path(local, fisher(), lams=LAMS, upper=upper, steps=40)
    drift = [point.drift for point in points]
    odds = [local(point.alpha).value for point in points]
    assert drift == sorted(drift)
    assert odds == sorted(odds, reverse=True)
    assert drift[-1] > 10 * drift[0]


def test_bounds_hold_and_are_reached() -> None:
    """Drift costs nothing where F is 0: everything that lowers refusal is at its bound, all else at 0."""
    slopes = torch.tensor([[-1.0, -2.0, 0.5, -0.1, -3.0, 0.2]], dtype=torch.float64)
    upper = torch.tensor([1.0, 0.25, 1.0, 0.8, 0.0, 1.0], dtype=torch.float64)
    local = at(lambda alpha: {"harmful": Role(9.0 + slopes @ alpha, slopes)})
    points = follow_path(local, torch.zeros(N, N, dtype=torch.float64), lams=(1.0,), upper=upper, steps=20)
    assert torch.allclose(points[0].alpha, upper * (slopes[0] < 0), atol=1e-6)
    for seed in range(3):
        for point in follow_path(at(linear_roles(seed)), fisher(), lams=LAMS, upper=upper, steps=2):
            assert bool((point.alpha >= 0).all() and (point.alpha <= upper + 1e-12).all())


def bent(alpha: Tensor) -> dict[str, Role]:
    """Log-odds that the linear picture overshoots: they fall, and rise again."""
    start, rate = 4.0 + drawn(7, seed=1).abs(), 5.0 + drawn(7, N, seed=2).abs()
    values = start - 6.0 * torch.sin(rate * alpha).mean(1)
    return {"harmful": Role(values, -6.0 * rate * torch.cos(rate * alpha) / N)}


@pytest.mark.parametrize("radius", [0.05, 0.5, 4.0])
def test_no_step_raises_the_merit(radius: float) -> None:
    """Whatever the linear picture promises: at every lambda the merit is no higher than where that lambda began."""
    local, f, upper = at(bent), fisher(), torch.ones(N, dtype=torch.float64)
    seen: list[PathPoint] = []
    points = follow_path(local, f, lams=LAMS, upper=upper, radius=radius, steps=6, on_point=seen.append)
    assert tuple(seen) == points
    before = torch.zeros(N, dtype=torch.float64)
    for point in points:
        assert whole(local(point.alpha), f, point.alpha, point.lam) <= whole(
            local(before), f, before, point.lam
        )
        before = point.alpha
    assert whole(local(before), f, before, LAMS[-1]) < local(torch.zeros(N, dtype=torch.float64)).value


def test_looks_are_counted_and_limited() -> None:
    calls = 0

    def local(alpha: Tensor) -> Local:
        nonlocal calls
        calls += 1
        return at(bent)(alpha)

    points = follow_path(local, fisher(), lams=LAMS, upper=torch.ones(N, dtype=torch.float64), steps=2)
    assert sum(point.looks for point in points) == calls
    assert max(point.looks for point in points) <= 3
    assert all(point.looks <= 2 for point in points[1:])


def test_a_start_is_where_the_path_begins_within_the_bounds() -> None:
    """With one lambda and a small radius the first point lies near the start; a start beyond a bound is cut to it."""
    local, upper = at(linear_roles()), torch.full((N,), 0.5, dtype=torch.float64)
    start = torch.tensor([0.4, 0.1, 0.9, 0.0, 0.2, 0.5], dtype=torch.float64)
    (near,) = follow_path(local, fisher(), lams=(1.0,), upper=upper, start=start, radius=0.02, steps=1)
    assert float((near.alpha - start.clamp(max=0.5)).abs().max()) <= 0.02 + 1e-9
    far = [
        follow_path(local, fisher(), lams=(1.0,), upper=upper, start=begin, steps=40)[0].alpha
        for begin in (start, torch.zeros(N, dtype=torch.float64))
    ]
    values = [whole(local(alpha), fisher(), alpha, 1.0) for alpha in far]
    assert values[0] == pytest.approx(values[1], rel=2e-3), "where it begins does not decide where it ends"
