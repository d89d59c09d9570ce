"""The smallest whole job: a few of the demo model's prompts and settings under which a run takes seconds."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

SIZES = {"harmful": 60, "harmless": 60, "capability": 40, "borderline": 10, "preserve": 15}
SETTINGS = (
    "prompts.select_share=0.2",
    "prompts.test_share=0.2",
    "spectrum.permutations=8",
    "spectrum.bootstraps=4",
    "entanglement.threshold=1.0",  # forty capability prompts span more than they should
    "entanglement.prompts=16",
    "entanglement.draws=2",
    "entanglement.damage_units=4",
    "ablation.path_points=4",
    "refinement.max_iterations=2",
    "refinement.stop_at_target=false",
    "refinement.line_search=2",
    "evaluation.max_new_tokens=16",
    "evaluation.bootstraps=50",
)


def rows(role: str) -> list[dict[str, Any]]:
    """The demo model's own prompts of a role."""
    return read_rows(resources.files("saber.prompts") / "data" / "demo" / f"{role}.jsonl")


def read_rows(file: Any) -> list[dict[str, Any]]:
    """Prompts from a file of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def spread(role: str, n: int) -> list[dict[str, Any]]:
    """`n` prompts of a role, evenly over its file."""
    found = rows(role)
    return [found[i * len(found) // n] for i in range(n)]


def write_rows(path: Path, records: list[dict[str, Any]]) -> Path:
    """Write prompts as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def sources(folder: Path, **sizes: int) -> list[str]:
    """Write a small file for each role; returns the assignments that use them."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {**SIZES, **sizes}
    files = {role: write_rows(folder / f"{role}.jsonl", spread(role, n)) for role, n in wanted.items()}
    return [f"prompts.{role}={path}" for role, path in files.items()]


def options(assignments: list[str] | tuple[str, ...]) -> list[str]:
    """Assignments as command line options."""
    return [part for assignment in assignments for part in ("--set", assignment)]
