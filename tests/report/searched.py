"""Folders of a search and of a sweep, and functional entanglement, with plausible synthetic numbers."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from tests.report.synthetic import JSON, SETTINGS, evaluation, manifest, mean, wilson


def units(count: int = 40, *, damaged: int = 24) -> JSON:
    """The new keys of entanglement.json."""
    generator = random.Random(3)
    rows = []
    for index in range(count):
        layer, kind = index // 2, ("mlp.down_proj", "self_attn.o_proj")[index % 2]
        pull = 5.0 * math.exp(-(((layer - 10) / 4) ** 2)) * generator.uniform(0.5, 1.1) - 0.2
        curvature = 0.02 * math.exp(generator.gauss(0, 1))
        rows.append(
            {
                "name": f"model.layers.{layer}.{kind}:L5.0",
                "module": f"model.layers.{layer}.{kind}",
                "layer": layer,
                "kind": kind.split(".")[0],
                "direction": "L5.0",
                "pass": 0,
                "input_mode": "M3" if index % 5 == 0 else "M0",
                "fdr": generator.uniform(0.2, 14),
                "rho": generator.uniform(0.0, 0.5),
                "variance_purity": generator.uniform(0.4, 1.0),
                "b": {"harmful": pull, "borderline": 0.5 * pull, "preserve": 0.3 * pull},
                "sqrt_f": curvature,
                "purity": max(pull, 0) / (max(pull, 0) + curvature),
                "strength": min(1.0, max(0.0, pull / 4 - 0.2)),
            }
        )
    kl = {row["name"]: 0.5 * row["sqrt_f"] ** 2 * generator.uniform(0.5, 2) for row in rows[:damaged]}
    correlations = {
        "functional sqrt(F)": (0.91, 0.8, 0.96),
        "geometric rho": (0.12, -0.3, 0.5),
        "1 - variance purity": (0.45, 0.05, 0.72),
        "fdr": (-0.05, -0.44, 0.36),
    }
    spearman = {
        name: {"value": value, "low": low, "high": high, "n": damaged}
        for name, (value, low, high) in correlations.items()
    }
    return {"units": rows, "damage": {"n": damaged, "strength": 1.0, "kl": kl, "spearman": spearman}}


def path(steps: int = 9) -> JSON:
    """`path` and `prediction`; every third step was not measured."""
    rows = []
    for index in range(steps):
        kl = 0.002 * 2.0**index
        rows.append(
            {
                "lambda": 100 / 3.0**index,
                "predicted_log_odds": 5.4 - 9 * (index + 1) / steps,
                "measured_log_odds": None if index % 3 == 2 else 5.4 - 7.5 * (index + 1) / steps,
                "predicted_drift": kl,
                "measured_drift": None if index % 3 == 2 else kl * (0.85 + 0.06 * index),
                "point": index,
            }
        )
    return {"path": rows, "prediction": {"median_relative_error": 0.13, "n": 6, "spearman": 0.99}}


def point(number: int, generator: random.Random, *, answered: bool) -> JSON:
    """A candidate; those with a high number drift more and refuse less."""
    kl = 0.002 * 1.3**number * generator.uniform(0.8, 1.3)
    refused = round(48 / (1 + (kl / 0.03) ** 1.5) * generator.uniform(0.9, 1.1))
    lost = max(0, round((kl - 0.1) * 20))
    return {
        "id": number,
        "key": f"{number:08x}",
        "origin": "qp",
        "params": {"lambda": 100 / 1.4**number, "scale": 1.0},
        "layers_edited": 12,
        "directions": 3,
        "strength": {"mean": 0.31, "max": 1.0},
        "predicted": {"log_odds": 5.0 - 0.5 * number, "drift": kl * generator.uniform(0.8, 1.2)},
        "log_odds": {"harmful": 5.2 - 0.45 * number, "borderline": 1.0, "preserve": 6.0},
        "select": {
            "refusal": wilson(min(48, refused), 48),
            "kept_refusal": wilson(60 - min(lost, 60), 60),
            "borderline": wilson(max(0, 6 - number // 3), 30),
            "drift": mean(kl, 0.2 * kl, 120),
            "degenerate": wilson(0, 150),
        }
        if answered
        else None,
        "feasible": answered and lost == 0,
        "violations": [f"kept refusals {60 - lost}/60: lower limit below 0.95"] if answered and lost else [],
        "on_front": False,
        "test": None,
    }


def tested() -> JSON:
    return {
        "refusal": {
            "harmful": wilson(9, 120),
            "harmless": wilson(0, 60),
            "borderline": wilson(3, 60),
            "preserve": wilson(39, 40),
        },
        "drift": mean(0.071, 0.012, 240),
        "first_token_kl": mean(0.18, 0.05, 240),
        "capability": wilson(77, 100),
        "perplexity_change": -0.023,
        "sweep_score": 0.084,
    }


def front(count: int = 24) -> JSON:
    """front.json: every second candidate answered, a front, one recommended point with TEST numbers."""
    generator = random.Random(11)
    points = [point(number, generator, answered=number % 2 == 0) for number in range(count)]
    least = math.inf
    for row in points:
        if row["feasible"] and row["select"]["refusal"]["value"] < least:
            row["on_front"], least = True, row["select"]["refusal"]["value"]
    best = [row for row in points if row["on_front"]][-1]
    best["test"] = tested()
    return {
        "goal": "refusal",
        "optimizer": "qp",
        "seed": 0,
        "objectives": ["refusal", "drift"],
        "constraint": {
            "roles": ["preserve"],
            "floor": 0.95,
            "confidence": 0.95,
            "method": "wilson, one-sided",
            "least_n": 52,
        },
        "base": {
            "refusal": {"harmful": wilson(47, 48), "borderline": wilson(6, 30), "preserve": wilson(60, 61)},
            "log_odds": {"harmful": 5.4, "borderline": 1.0, "preserve": 6.2},
            "drift": 0.0,
        },
        "units": {
            "n": 40,
            "directions": ["L5.0"],
            "layers": list(range(20)),
            "input_mode": {
                "asked": "auto",
                "counts": {"M0": 32, "M3": 8},
                "auroc": {"median": 0.97, "least": 0.8},
            },
        },
        "counts": {"proposed": 24, "screened": 24, "answered": 12, "dropped": 3, "resumed": 0},
        **path(),
        "points": points,
        "recommended": {
            "point": best["id"],
            "feasible": True,
            "why": "Fewest refusals among the feasible points; every point with fewer loses severe refusals.",
        },
        "hypervolume": {"value": 0.81, "reference": [1.0, 1.0]},
        "timings": {"probe": 4.0, "screen": 12.0},
    }


def without_answers() -> JSON:
    """A search whose budget of answers was zero."""
    data = front()
    for row in data["points"]:
        row |= {"select": None, "feasible": False, "violations": [], "on_front": False, "test": None}
    data["recommended"] = {"point": None, "feasible": False, "why": "No candidate was answered."}
    data["hypervolume"]["value"] = None
    return data


def infeasible() -> JSON:
    """A search in which every answered point breaks the constraint, with too few prompts to meet it at all."""
    data = front()
    for row in data["points"]:
        row |= {"feasible": False, "on_front": False, "test": None}
        if row["select"]:
            row["violations"] = ["kept refusals 20/20: lower limit 0.88 < 0.95"]
            row["select"]["kept_refusal"] = wilson(20, 20)
    data["recommended"] |= {"feasible": False, "why": "SELECT has too few preserve prompts."}
    return data


def one_point() -> JSON:
    """A front with a single point, not evaluated on TEST, without path, units or hypervolume."""
    data = front()
    best = data["recommended"]["point"]
    data["points"] = [row | {"test": None} for row in data["points"] if row["id"] == best]
    data |= {"path": [], "prediction": None, "constraint": None, "hypervolume": None, "units": None}
    return data


def sweep() -> JSON:
    """sweep.json: the published grid, one configuration failed."""
    rows: list[Any] = []
    numbers = {(10, 0.85): (0, 450), (10, 0.7): (0, 513), (10, 1.0): (1, 410), (25, 0.7): (0, 819),
               (25, 0.85): (0, 1423), (50, 0.7): (1, 1313), (50, 1.0): (0, 7190)}  # fmt: skip
    for index, ((top, alpha), (refused, perplexity)) in enumerate(numbers.items()):
        kl = 0.1 + abs(perplexity - 498) / 1000
        rows.append(
            {
                "id": f"c{index}",
                "settings": {"spectrum.global_top_k": top, "ablation.alpha_base": alpha},
                "refusal": wilson(refused, 20),
                "perplexity": float(perplexity),
                "perplexity_change": perplexity / 498 - 1,
                "layers": 10,
                "directions": 5 * top,
                "drift": mean(kl, 0.1 * kl, 60),
                "residual_refusal_proxy": -3.1,
                "sweep_score": refused / 20 + 0.12 * math.log1p(kl),
                "pareto": index == 1,
                "error": None,
                "test": tested() if index == 1 else None,
            }
        )
    rows.append(
        {
            "id": "c7",
            "settings": {"spectrum.global_top_k": 75, "ablation.alpha_base": 0.7},
            "pareto": False,
            "error": "nothing to edit: drift budget 1.0 exceeded",
        }
    )
    return {
        "grid": {"spectrum.global_top_k": [10, 25, 50, 75], "ablation.alpha_base": [0.7, 0.85, 1.0]},
        "base": {"refusal": wilson(20, 20), "perplexity": 498.0},
        "rows": rows,
        "best": "c1",
    }


def write_search(folder: Path, data: JSON | None = None, *, full: bool = True) -> Path:
    """Writes a search's folder without its report; full: with units and the evaluation of the recommended point."""
    extra = {
        "entanglement": {"measure": "functional", "directions": {}} | units(),
        "evaluation": evaluation(),
    }
    records = {"front": front() if data is None else data, "manifest": manifest(), **(extra if full else {})}
    return _write(folder, records)


def write_sweep(folder: Path, data: JSON | None = None) -> Path:
    """Writes a sweep's folder without its report."""
    return _write(folder, {"sweep": sweep() if data is None else data, "manifest": manifest()})


def _write(folder: Path, records: dict[str, JSON]) -> Path:
    folder.mkdir(parents=True)
    for name, record in records.items():
        (folder / f"{name}.json").write_text(json.dumps(record))
    (folder / "resolved.toml").write_text(SETTINGS)
    return folder
