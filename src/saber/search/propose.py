"""Where candidates come from: paths of quadratic programs, gaps on them, or a profile over depth for Optuna."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from saber.ablation.path import PathPoint
from saber.ablation.units import UnitBank
from saber.config import RunConfig
from saber.pipeline.functional import GOALS, Sensitivity
from saber.search.candidate import Candidate
from saber.search.optimise import Real, Space

_NOTHING = 1e-4
"""Strengths up to here edit nothing."""


def paths(
    sensitivity: Sensitivity, config: RunConfig, upper: Float[Tensor, " n"], points: int
) -> Iterator[tuple[float, tuple[PathPoint, ...]]]:
    """One path for each weight of the refusals that should stay, `points` points in all."""
    weights = config.search.keep_weights[:points]
    for place, weight in enumerate(weights):
        share = points // len(weights) + (place < points % len(weights))
        yield (
            weight,
            sensitivity.follow(
                config.search.goal, upper=upper, start=None, keep_weight=weight, points=max(share, 1)
            ),
        )


def of_path(path: Sequence[PathPoint], weight: float, goal: str) -> list[Candidate]:
    """Its points as candidates."""
    target, _ = GOALS[goal]
    return [
        Candidate(
            point.alpha.float(),
            "qp",
            {"lambda": point.lam, "keep_weight": weight},
            {"log_odds": point.means[target], "drift": point.drift},
        )
        for point in path
        if bool((point.alpha > _NOTHING).any())
    ]


def between(low: Candidate, high: Candidate, share: float, fisher: Float[Tensor, "n n"]) -> Candidate:
    """A candidate on the straight line between two of the same path."""
    alpha = torch.lerp(low.alpha, high.alpha, share)
    wide = alpha.double()
    drift = float(wide @ fisher @ wide) / 2
    odds = low.predicted["log_odds"] + share * (high.predicted["log_odds"] - low.predicted["log_odds"])
    params = {"lambda": low.params["lambda"] ** (1 - share) * high.params["lambda"] ** share}
    return Candidate(
        alpha, "qp", {**params, "keep_weight": low.params["keep_weight"]}, {"log_odds": odds, "drift": drift}
    )


def profile_space(bank: UnitBank) -> Space:
    """For each kind of writer a peak, its depth, width and floor; for each further direction a weight."""
    space: dict[str, Real] = {}
    for kind in sorted({unit.kind for unit in bank.units}):
        space |= {
            f"{kind}.peak": Real(0.0, 1.0),
            f"{kind}.centre": Real(0.0, 1.0),
            f"{kind}.width": Real(0.1, 1.0),
            f"{kind}.floor": Real(0.0, 1.0),
        }
    for vector in sorted({unit.vector for unit in bank.units}):
        if vector:
            space[f"direction{vector}"] = Real(0.0, 1.0)
    return space


def profile(bank: UnitBank, upper: Float[Tensor, " n"], n_layers: int, params: Mapping[str, float]) -> Tensor:
    """Strengths of a profile: `upper * peak * max(floor, 1 - |depth - centre| / width)`."""
    alpha = []
    for unit, most in zip(bank.units, upper.tolist(), strict=True):
        depth = (unit.layer or 0) / max(n_layers - 1, 1)
        away = abs(depth - params[f"{unit.kind}.centre"]) / params[f"{unit.kind}.width"]
        height = params[f"{unit.kind}.peak"] * max(params[f"{unit.kind}.floor"], 1.0 - away)
        alpha.append(most * height * params.get(f"direction{unit.vector}", 1.0))
    return torch.tensor(alpha, dtype=torch.float32)
