"""What a prediction is worth: the path and single units measured on SELECT beside what was predicted of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saber.ablation.units import UnitBank
from saber.config import RunConfig
from saber.entanglement.functional import rank_correlation
from saber.evaluation.candidates import CandidateBench, Screened
from saber.evaluation.evaluate import BaseMeasurement
from saber.pipeline.bench import Bench
from saber.prompts import Role
from saber.watch import Watch

MEASURES: Mapping[str, str] = {
    "functional sqrt(F)": "sqrt_f",
    "geometric rho": "rho",
    "1 - variance purity": "variance_rho",
    "fdr": "fdr",
}
"""Measures of entanglement that are compared with damage, and the value of a unit's row."""


def candidate_bench(bench: Bench, bank: UnitBank, base: BaseMeasurement, config: RunConfig) -> CandidateBench:
    """Measures strengths of a bank on SELECT."""
    return CandidateBench(
        bench.chat, bench.anatomy, bank, base, signal_tokens=config.evaluation.signal_tokens
    )


def drift_of(seen: Screened, config: RunConfig) -> Float[Tensor, "candidates prompts"]:
    """The drift that strengths are weighed against."""
    return seen.kl if config.evaluation.drift == "answer" else seen.first_kl


def measured_path(
    rows: Sequence[Mapping[str, Any]],
    points: Float[Tensor, "points n"],
    measure: CandidateBench,
    target: Role,
    config: RunConfig,
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Path rows with what SELECT says of each point, and how far the predicted drift is off."""
    seen = measure.screen(points)
    drift = drift_of(seen, config).mean(1)
    odds = (
        seen.log_odds[target].nanmean(1) if target in seen.log_odds else torch.full((len(points),), torch.nan)
    )
    filled = [
        {**row, "measured_log_odds": _number(odds[place]), "measured_drift": _number(drift[place])}
        for place, row in enumerate(rows)
    ]
    return filled, prediction(filled)


def prediction(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Median relative error and rank correlation of predicted against measured drift; None without points."""
    pairs = [(row["predicted_drift"], row["measured_drift"]) for row in rows if row["measured_drift"]]
    if not pairs:
        return None
    errors = [abs(guess - found) / found for guess, found in pairs]
    ranks = rank_correlation([guess for guess, _ in pairs], [found for _, found in pairs])
    return {"median_relative_error": statistics.median(errors), "n": len(pairs), "spearman": ranks.value}


def measured_damage(
    units: Sequence[Mapping[str, Any]], measure: CandidateBench, config: RunConfig, watch: Watch
) -> dict[str, Any] | None:
    """KL of units that are ablated alone, at full strength, and its rank correlation with each measure.

    Beyond `entanglement.damage_units` units, they are taken evenly from the list sorted by sqrt(F).
    """
    most = config.entanglement.damage_units
    if most < 3 or len(units) < 3:
        return None
    order = sorted(range(len(units)), key=lambda place: units[place]["sqrt_f"])
    chosen = sorted({order[i * len(order) // min(most, len(order))] for i in range(min(most, len(order)))})
    with watch.stage("damage of single units"):
        alone = torch.eye(len(units))[chosen]
        kl = drift_of(measure.screen(alone), config).mean(1).tolist()
    rows = [{**units[place], "variance_rho": _less(units[place].get("variance_purity"))} for place in chosen]
    found = {}
    for name, key in MEASURES.items():
        pairs = [(row[key], value) for row, value in zip(rows, kl, strict=True) if row.get(key) is not None]
        correlation = rank_correlation([x for x, _ in pairs], [y for _, y in pairs])
        found[name] = {
            **asdict(correlation),
            "unscored": len(rows) - len(pairs),
            "method": "bonett-wright 95 %",
        }
    return {
        "n": len(chosen),
        "strength": 1.0,
        "kl": {row["name"]: value for row, value in zip(rows, kl, strict=True)},
        "spearman": found,
    }


def _less(purity: float | None) -> float | None:
    return None if purity is None else 1.0 - purity


def _number(value: Tensor) -> float | None:
    return float(value) if bool(value.isfinite()) else None
