"""Stages 3 and 4 where they are functional: what each unit does, and how strongly each is edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saber.ablation.path import PathPoint
from saber.ablation.plan import EditPlan
from saber.config import RunConfig
from saber.entanglement.functional import UnitEffect
from saber.entanglement.purity import Entanglement
from saber.pipeline.bench import Bench
from saber.pipeline.functional import GOALS, Sensitivity
from saber.pipeline.stages import Look, grow
from saber.watch import Watch


@dataclass(frozen=True, eq=False)
class Grown:
    """A plan with a pass's directions, and how their strengths came about.

    Attributes:
        plan: The plan, at its strongest.
        sensitivity: What was measured of its units; None where nothing was differentiated.
        directions: Functional effect of every new direction, by name.
        path: Points from faint to strong; empty where strengths are no solutions of a quadratic program.
    """

    plan: EditPlan
    sensitivity: Sensitivity | None = None
    directions: Mapping[str, UnitEffect] | None = None
    path: tuple[PathPoint, ...] = ()


def grow_functionally(
    bench: Bench, config: RunConfig, plan: EditPlan, seen: Look, pass_index: int, watch: Watch
) -> Grown:
    """Extend a plan by a pass's directions, measured and weighted as the settings say."""
    functional = config.entanglement.measure == "functional"
    if not functional and config.ablation.strengths != "qp":
        return Grown(grow(plan, seen, config, pass_index))
    whole = whole_plan(plan, seen, config, pass_index)
    if len(whole.vectors) == len(plan.vectors):
        return Grown(whole)
    sensitivity = Sensitivity(bench, config, bench.compiler.bank(whole), watch)
    effects = _directions(whole, sensitivity, pass_index)
    measured = {name: _entanglement(name, found) for name, found in effects.items()} if functional else {}
    grown = grow(plan, seen, config, pass_index, entanglement=measured)
    bank = bench.compiler.bank(grown)
    if bank is not sensitivity.bank:
        sensitivity = Sensitivity(bench, config, bank, watch)
    if config.ablation.strengths != "qp" or len(grown.vectors) == len(plan.vectors):
        return Grown(grown, sensitivity, effects)
    points = sensitivity.follow(
        "refusal",
        upper=grown.most(bank.units),
        start=_carried(plan, grown, bank.units),
        keep_weight=config.ablation.keep_weight,
        points=config.ablation.path_points,
    )
    return Grown(
        grown.on_path(bank.units, [point.alpha for point in points]), sensitivity, effects, tuple(points)
    )


def whole_plan(plan: EditPlan, seen: Look, config: RunConfig, pass_index: int) -> EditPlan:
    """The plan with every ranked direction in one piece, none skipped: what is differentiated."""
    ablation = config.ablation.model_copy(update={"strengths": "uniform"})
    entanglement = config.entanglement.model_copy(update={"threshold": 1.0})
    changed = config.model_copy(update={"ablation": ablation, "entanglement": entanglement})
    return grow(plan, seen, changed, pass_index)


def _directions(whole: EditPlan, sensitivity: Sensitivity, pass_index: int) -> dict[str, UnitEffect]:
    target = GOALS["refusal"][0]
    places: dict[str, list[int]] = {}
    for place, unit in enumerate(sensitivity.bank.units):
        vector = whole.vectors[unit.vector]
        if vector.pass_index == pass_index:
            places.setdefault(vector.direction.name, []).append(place)
    return sensitivity.effects(places, target)


def _entanglement(name: str, found: UnitEffect) -> Entanglement:
    return Entanglement(name, 1.0 - found.purity, found.purity, None, "functional")


def _carried(plan: EditPlan, grown: EditPlan, units: Any) -> Float[Tensor, " n"]:
    """Strengths of the passes before, and 0 for new units."""
    known = len(plan.vectors)
    scale = 1.0 if plan.path else plan.scale
    rows = []
    for unit in units:
        if unit.vector >= known:
            rows.append(0.0)
            continue
        own = plan.weights.get(unit.module)
        rows.append(plan.vectors[unit.vector].alpha * scale * (1.0 if own is None else own[unit.vector]))
    return torch.tensor(rows, dtype=torch.float64)


def path_rows(path: tuple[PathPoint, ...], target: str) -> list[dict[str, Any]]:
    """Points as JSON; what was measured is filled in by who measures."""
    return [
        {
            "lambda": point.lam,
            "predicted_log_odds": point.means[target],
            "predicted_drift": point.drift,
            "measured_log_odds": None,
            "measured_drift": None,
            "kkt": point.kkt,
            "looks": point.looks,
        }
        for point in path
    ]
