"""`saber search` against Heretic on the demo model: the same prompts, and Heretic's own evaluator for both.

    HERETIC_VENV=DIR python benchmarks/search_vs_heretic.py --peers DIR [--out DIR] [--trials 200]

Heretic runs from PyPI as an external program in its own environment; --peers is the folder of `heretic_run.sh` and
`heretic_eval.sh`. Both tools see the PROBE and SELECT prompts of the demo model; the points of SABER's front are
exported and scored by Heretic (refusals by its markers, first-token KL). Time is CPU seconds of one thread, so a busy
machine changes little; wall seconds are printed beside it. A finished Heretic run in --out is used again. The last line
is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saber.config import RunConfig
from saber.pipeline.bench import split_all
from saber.search.pareto import hypervolume

REFERENCE = (1.0, 0.1)
"""Refusal rate and first-token KL beyond which a point is worth nothing."""
DEMO = Path(__file__).parents[1] / "src" / "saber" / "organism" / "demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both, score both with Heretic, print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peers", type=Path, required=True, help="folder of heretic_run.sh and heretic_eval.sh"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/search-vs-heretic"))
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--points", type=int, default=12, help="candidates of saber search")
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    files = _prompts(out)
    theirs = _heretic(options, out, files)
    ours = _saber(options, out, files)
    result = compare(theirs, ours)
    for line in result.pop("lines"):
        print(line)
    print(json.dumps(result))
    return 0


def _prompts(out: Path) -> dict[str, Path]:
    """One text file for each role and part."""
    _, splits = split_all(RunConfig().prompts, 0, demo=True)
    files = {}
    for role in ("harmful", "harmless"):
        for part in ("probe", "select"):
            file = out / f"{role}-{part}.txt"
            file.write_text("".join(f"{prompt.text}\n" for prompt in getattr(splits[role], part)))
            files[f"{role}-{part}"] = file
    return files


def _heretic(options: Any, out: Path, files: dict[str, Path]) -> dict[str, Any]:
    """Heretic's trials with the CPU time that each had behind it."""
    folder = out / "heretic"
    if not (folder / "summary.json").is_file():
        order = ("harmful-probe", "harmless-probe", "harmful-select", "harmless-select")
        command = [str(options.peers / "heretic_run.sh"), str(DEMO), *(str(files[name]) for name in order)]
        subprocess.run(
            ["bash", *command, str(options.trials), str(folder)], check=True, stdout=subprocess.DEVNULL
        )
    summary = json.loads((folder / "summary.json").read_text())
    text = (folder / "time.txt").read_text()
    cpu = sum(float(re.search(rf"{kind} time \(seconds\): ([\d.]+)", text)[1]) for kind in ("User", "System"))  # type: ignore[index]
    rows = [line.split("\t") for line in (folder / "trials.tsv").read_text().splitlines()[1:]]
    points = [(int(row[2]) / summary["n_bad_prompts"], float(row[3])) for row in rows]
    shares = np.cumsum([float(row[1]) for row in rows]) / summary["wall_seconds"]
    setup = summary["setup_and_export_seconds"] / summary["wall_seconds"]
    return {
        "points": points,
        "cpu": cpu,
        "wall": summary["wall_seconds"],
        "until": [cpu * (setup + share) for share in shares],
        "base": summary["base_refusals"] / summary["n_bad_prompts"],
    }


def _saber(options: Any, out: Path, files: dict[str, Path]) -> dict[str, Any]:
    """SABER's front, each point exported and scored by Heretic."""
    folder = out / "saber"
    if not (folder / "manifest.json").is_file():
        settings = ["evaluation.drift=first_token", "search.keep=0.0", "search.keep_weights=[0.0]"]
        chosen = [part for setting in settings for part in ("--set", setting)]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        saber = [
            sys.executable,
            "-m",
            "saber.cli",
            "search",
            "demo",
            "--points",
            str(options.points),
            *chosen,
        ]
        _run([*saber, "--export", "none", "--quiet", "--out", str(folder)])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        (out / "saber-time.json").write_text(json.dumps({"cpu": cpu, "wall": time.perf_counter() - started}))
    spent = json.loads((out / "saber-time.json").read_text())
    front = json.loads((folder / "front.json").read_text())
    scored = []
    for point in (each for each in front["points"] if each["on_front"]):
        file = out / f"point-{point['id']}.json"
        if not file.is_file():
            edited = out / f"point-{point['id']}"
            if not edited.exists():
                _run([sys.executable, "-m", "saber.cli", "export", str(folder), "--point", str(point["id"]),
                      "--out", str(edited)])  # fmt: skip
            evaluate = ["bash", str(options.peers / "heretic_eval.sh"), str(DEMO), str(edited)]
            said = _run([*evaluate, str(files["harmful-select"]), str(files["harmless-select"])])
            file.write_text(said.splitlines()[-1])
        row = json.loads(file.read_text())
        scored.append((row["refusals"] / row["n_bad_prompts"], row["kl_divergence"]))
    return {"points": scored, **spent}


def _run(command: Sequence[str]) -> str:
    found = subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return found.stdout


def volume(points: Sequence[tuple[float, float]]) -> float:
    """Hypervolume below `REFERENCE`."""
    return hypervolume(np.array(points, dtype=float).reshape(-1, 2), np.array(REFERENCE)) if points else 0.0


def compare(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The three goals, as ratios within one run."""
    lines = [f"base: {theirs['base']:.1%} refused by Heretic's markers"]
    for name, side in (("Heretic", theirs), ("SABER", ours)):
        lines.append(
            f"{name}: {len(side['points'])} points, {side['cpu']:.0f} s CPU, {side['wall']:.0f} s wall"
        )
        lines += [f"  {rate:6.1%} refused at {kl:.4f} nats" for rate, kl in _front(side["points"])]
    # Until `ours` ended, Heretic had finished these trials.
    early = [
        point for point, until in zip(theirs["points"], theirs["until"], strict=True) if until <= ours["cpu"]
    ]
    ratios = []
    for rate, kl in ours["points"]:
        rivals = [other for other_rate, other in theirs["points"] if other_rate <= rate]
        if rivals and kl > 0:
            ratios.append(kl / min(rivals))
    beaten = [rate for rate, _ in ours["points"] if not [1 for other, _ in theirs["points"] if other <= rate]]
    return {
        "lines": lines,
        "hypervolume_heretic": volume(theirs["points"]),
        "hypervolume_saber": volume(ours["points"]),
        "cpu_ratio": ours["cpu"] / theirs["cpu"],
        "hypervolume_heretic_at_equal_time": volume(early),
        "kl_ratio_at_equal_refusals": {
            "each": ratios,
            "median": float(np.median(ratios)) if ratios else None,
        },
        "points_below_every_heretic_refusal_rate": len(beaten),
    }


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return sorted(p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points))


if __name__ == "__main__":
    sys.exit(main())
