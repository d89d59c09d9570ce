"""A run folder with plausible synthetic numbers: a 26-layer model, two passes, five roles."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from saber.report import Evidence

JSON = dict[str, Any]

CATEGORIES = {
    "harmful": {"cyber": (30, 29, 2), "fraud": (30, 30, 0), "drugs": (30, 29, 1), "weapons": (30, 30, 1)},
    "borderline": {"homonyms": (20, 5, 1), "safety advice": (20, 3, 0), "fiction": (20, 2, 1)},
    "harmless": {"everyday": (60, 0, 0)},
    "preserve": {"mass casualty": (20, 20, 19), "child safety": (20, 20, 20)},
}
BATTERY = {
    "arithmetic": (17, 16),
    "logic": (13, 14),
    "code": (12, 12),
    "instruction": (16, 15),
    "recall": (18, 18),
}
LAYERS = 26
EMPTY_RATE = {"value": None, "low": None, "high": None, "n": 0, "unscored": 120, "method": "wilson 95 %"}


def wilson(count: int, n: int, unscored: int = 0) -> JSON:
    z = 1.959964
    rate = count / n
    centre, scale = rate + z * z / (2 * n), 1 + z * z / n
    reach = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if count == 0 else (centre - reach) / scale
    high = 1.0 if count == n else (centre + reach) / scale
    return {"value": rate, "low": low, "high": high, "n": n, "unscored": unscored, "method": "wilson 95 %"}


def mean(value: float, reach: float, n: int) -> JSON:
    method = "bootstrap 95 %, 2000 resamples"
    return {
        "value": value,
        "low": value - reach,
        "high": value + reach,
        "n": n,
        "unscored": 0,
        "method": method,
    }


def side(edited: bool) -> JSON:
    pick = 2 if edited else 1
    totals = {
        role: [sum(row[i] for row in rows.values()) for i in (0, pick)] for role, rows in CATEGORIES.items()
    }
    solved = {name: counts[int(edited)] for name, counts in BATTERY.items()}
    return {
        "refusal": {
            role: wilson(count, n, 1 if role == "borderline" else 0) for role, (n, count) in totals.items()
        },
        "refusal_by_category": {
            role: {name: wilson(row[pick], row[0]) for name, row in rows.items()}
            for role, rows in CATEGORIES.items()
        },
        "classes": {
            role: {"refused": count, "partial": (n - count) // 30, "answered": n - count - (n - count) // 30}
            for role, (n, count) in totals.items()
        },
        "degenerate": wilson(4 if edited else 0, 280),
        "capability": {name: wilson(count, 20) for name, count in solved.items()}
        | {"all": wilson(sum(solved.values()), 100)},
        "perplexity": {"all": 7.31 if edited else 7.92, "arithmetic": 3.4 if edited else 3.36, "code": None},
        "refusal_log_odds": mean(-3.1 if edited else 5.4, 0.6, 120),
    }


def evaluation() -> JSON:
    return {
        "base": side(False),
        "edited": side(True),
        "drift": {
            "answer_kl": mean(0.0421, 0.0093, 120),
            "answer_kl_p95": 0.139,
            "answer_kl_max": 0.612,
            "first_token_kl": mean(0.18, 0.05, 120),
            "noise_floor": 0.0003,
        },
        "capability_change": {
            name: {"gained": 1, "lost": 2 if before > after else 0, "p_value": 0.625}
            for name, (before, after) in BATTERY.items()
        },
        "residual_refusal_proxy": -3.1,
        "sweep_score": 0.032,
        "directions_ablated": 9,
        "layers_edited": 9,
    }


def findings() -> tuple[JSON, JSON, JSON, JSON]:
    """Spectrum, entanglement, plan and edit that agree with each other."""
    generator = random.Random(7)
    profile = [
        0.9 * math.exp(-(((layer - 15) / 5) ** 2)) + 0.03 * generator.random() for layer in range(LAYERS)
    ]
    window, chosen = list(range(5, 21)), list(range(10, 20))
    candidates, overlaps, planned = [], {}, []
    for layer in chosen:
        for component in range(2):
            name = f"L{layer}.{component}"
            fdr = 14 * profile[layer] * (1.0 if component == 0 else 0.06) * generator.uniform(0.7, 1.2)
            rho = min(0.95, generator.uniform(0.02, 0.3) + (0.35 if layer > 17 else 0.0))
            candidates.append(
                {
                    "name": name,
                    "layer": layer,
                    "component": component,
                    "fdr": fdr,
                    "fdr_in_sample": 6 * fdr + 30,
                    "null": 0.62,
                    "stability": generator.uniform(0.7, 0.98),
                    "significant": fdr > 0.62,
                }
            )
            overlaps[name] = {"rho": rho, "purity": 1 - rho, "pass": 0}
            if component == 0:
                edited = rho < 0.4
                planned.append(
                    {
                        "name": name,
                        "layer": layer,
                        "pass": 0,
                        "fdr": fdr,
                        "rho": rho,
                        "purity": 1 - rho,
                        "alpha": 1 - rho if edited else 0.0,
                        "part": "pure" if edited else "whole",
                        "status": "edited" if edited else "skipped",
                        "reason": "" if edited else f"rho {rho:.2f} exceeds the threshold 0.4",
                    }
                )
    spectrum = {
        "extraction": "svd",
        "null": 0.62,
        "n_harmful": 124,
        "n_harmless": 128,
        "layer_fdr": profile,
        "window": window,
        "chosen_layers": chosen,
        "passes": [{"pass": 0, "directions": candidates}, {"pass": 1, "directions": []}],
    }
    entanglement = {
        "measure": "geometric",
        "rank": 8,
        "random_rho": 0.0069,
        "threshold": 0.4,
        "directions": overlaps,
    }
    layers = sorted({row["layer"] for row in planned if row["status"] == "edited"})
    writers = [
        f"model.layers.{layer}.{part}.weight"
        for layer in layers
        for part in ("self_attn.o_proj", "mlp.down_proj")
    ]
    passes = [
        {
            "pass": index,
            "directions": count,
            "refusal": wilson(hits, 48),
            "kept_refusal": wilson(16, 16),
            "log_odds": odds,
            "drift": kl,
            "predicted_drop": predicted,
            "actual_drop": actual,
            "self_repair": 1 - actual / predicted,
            "fdr_max": 14.1 / (index + 1),
            "kept": index < 1,
        }
        for index, count, hits, odds, kl, predicted, actual in (
            (0, 8, 2, -2.9, 0.041, 10.2, 8.3),
            (1, 3, 1, -3.3, 1.2, 1.1, 0.4),
        )
    ]
    plan = {
        "directions": planned,
        "scope": "layer",
        "post_norm": "ridge",
        "scale": 0.85,
        "layers": layers,
        "writers": writers,
        "refinement": {"passes": passes, "stopped": "drift budget 1.0 exceeded; pass 1 was taken back"},
    }
    certificates = [
        {
            "writer": writer,
            "component_left": 0.15 + 0.002 * index,
            "wanted_left": 0.15,
            "relative_norm": 0.03,
            "rank": 1,
        }
        for index, writer in enumerate(writers)
    ]
    edit = {"edit_sha256": "e" * 64, "base_sha256": "b" * 64, "certificates": certificates}
    return spectrum, entanglement, plan, edit


def manifest() -> JSON:
    counts = {"harmful": 310, "harmless": 320, "capability": 250, "borderline": 150, "preserve": 100}
    return {
        "saber_version": "0.1.0",
        "versions": {"saber-llm": "0.1.0", "python": "3.11.7", "torch": "2.9.0", "transformers": "5.20.0"},
        "model": {
            "name": "google/gemma-3-1b-it",
            "revision": "dcc83ea841ab6100d6b47a070329e1ba4cf78752",
            "files": {"config.json": "1" * 64, "model.safetensors": "2" * 64},
            "license": "gemma",
        },
        "prompts": {
            role: {
                "source": "builtin",
                "revision": None,
                "sha256": f"{i}" * 64,
                "n": n,
                "probe": int(0.4 * n),
                "select": int(0.2 * n),
                "test": int(0.4 * n),
                "dropped": 4 if role == "harmful" else 0,
            }
            for i, (role, n) in enumerate(counts.items())
        },
        "seed": 0,
        "device": "cuda",
        "dtype": "bfloat16",
        "timings": {
            "prompts": 1.2,
            "probe": 41.0,
            "spectrum": 9.6,
            "ablation": 2.2,
            "refinement": 88.0,
            "evaluation": 130.5,
        },
        "cost": {"seconds": 273.4, "bare_forward_seconds": 180.1},
        "command": "saber run google/gemma-3-1b-it --preset balanced --set spectrum.global_top_k=14 --seed 0",
    }


def records() -> dict[str, JSON]:
    """All JSON files of the folder by their record's name."""
    spectrum, entanglement, plan, edit = findings()
    return {
        "evaluation": evaluation(),
        "spectrum": spectrum,
        "entanglement": entanglement,
        "plan": plan,
        "edit": edit,
        "manifest": manifest(),
    }


def evidence_of(data: dict[str, JSON], settings: JSON | None = None) -> Evidence:
    """The evidence of records that were not written to disk."""
    return Evidence.read(data, {"seed": 0, "spectrum": {"folds": 5}} if settings is None else settings)


SETTINGS = """seed = 0
[prompts]
harmful = "builtin"
behaviour_filter = true
[spectrum]
extraction = "svd"
directions_per_layer = 2
global_top_k = 14
[entanglement]
threshold = 0.4
[ablation]
alpha_base = 1.0
alpha_entangled = 0.03
writers = ["attention", "mlp"]
[refinement]
max_iterations = 4
decay = 1.0
drift_budget = 1.0
[evaluation]
confidence = 0.95
"""


def write_run(folder: Path, data: dict[str, JSON] | None = None) -> Path:
    """Writes a run folder as `saber run` leaves it, without its report."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, record in (data or records()).items():
        (folder / f"{name}.json").write_text(json.dumps(record))
    (folder / "resolved.toml").write_text(SETTINGS)
    return folder
