"""Functional entanglement: what a unit does to refusals against what it does to everything else (METHOD section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.stats import norm, spearmanr
from torch import Tensor


@dataclass(frozen=True)
class UnitEffect:
    """First-order effect of one unit (or of several at one strength) on the base model.

    Attributes:
        b: By role, drop of the mean refusal log-odds per unit of strength, nats.
        sqrt_f: Square root of the Fisher information: `KL per token = (alpha sqrt_f)^2 / 2` for small alpha.
        purity: See `unit_purity`, from the b of the role that is to lose its refusals.
    """

    b: Mapping[str, float]
    sqrt_f: float
    purity: float


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation with an interval.

    Attributes:
        value: Between -1 and 1; None where one side is constant or there are fewer than three pairs.
        low: Lower limit; None below four pairs.
        high: Upper limit.
        n: Pairs.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


def unit_purity(b: float, sqrt_f: float, kappa: float) -> float:
    """Share of a unit that is refusal: `b+ / (b+ + kappa sqrt(F_ii))`, 0 where it removes none."""
    gained = max(b, 0.0)
    whole = gained + kappa * sqrt_f
    return gained / whole if whole > 0.0 else 0.0


def effect(
    slopes: Mapping[str, Float[Tensor, " n"]],
    fisher: Float[Tensor, "n n"],
    places: Sequence[int],
    *,
    target: str,
    kappa: float,
) -> UnitEffect:
    """Effect of units that share one strength: b adds up, and F is `1^T F 1` over them.

    Args:
        slopes: By role, drop of the mean log-odds per unit of each strength.
        fisher: F.
        places: The units.
        target: Role that is to lose its refusals.
        kappa: Weight of the damage in the purity.
    """
    chosen = list(places)
    own = fisher[chosen][:, chosen]
    sqrt_f = math.sqrt(max(float(own.sum()), 0.0))
    b = {role: float(values[chosen].sum()) for role, values in slopes.items()}
    return UnitEffect(b, sqrt_f, unit_purity(b[target], sqrt_f, kappa))


def fisher_matrix(draws: Float[Tensor, "draws n"]) -> Float[Tensor, "n n"]:
    """Second moment of the draws, float64: positive semi-definite by construction."""
    wide = draws.double()
    moment: Tensor = wide.T @ wide / len(wide)
    return (moment + moment.T) / 2


def rank_correlation(x: Sequence[float], y: Sequence[float], *, confidence: float = 0.95) -> RankCorrelation:
    """Spearman's rho with the Bonett-Wright interval.

    `tanh(atanh(rho) -+ z sqrt((1 + rho^2 / 2) / (n - 3)))` (Bonett and Wright 2000, Psychometrika 65).
    """
    n = len(x)
    if n < 3 or len(set(x)) < 2 or len(set(y)) < 2:
        return RankCorrelation(None, None, None, n)
    rho = float(spearmanr(x, y).statistic)
    if n < 4:
        return RankCorrelation(rho, None, None, n)
    z = float(norm.ppf(0.5 + confidence / 2.0))
    bounded = min(max(rho, -1.0 + 1e-12), 1.0 - 1e-12)
    reach = z * math.sqrt((1.0 + rho * rho / 2.0) / (n - 3))
    centre = math.atanh(bounded)
    return RankCorrelation(rho, math.tanh(centre - reach), math.tanh(centre + reach), n)


def mean_slopes(slopes: Float[Tensor, "prompts n"]) -> Float[Tensor, " n"]:
    """Drop of the mean log-odds per unit of strength: minus the mean derivative, float64."""
    return -slopes.double().mean(0) if len(slopes) else torch.zeros(slopes.shape[1], dtype=torch.float64)
