"""What the main job costs: `saber run demo` and `saber --help` as whole processes.

    python benchmarks/demo_run.py

Prints wall time, peak memory, and the run's cost over its bare forward passes (a ratio within one run).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    """Run both commands and print their figures last."""
    saber = [sys.executable, "-m", "saber.cli"]
    helps = [_timed([*saber, "--help"])[0] for _ in range(5)]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run")
        seconds, done = _timed([*saber, "run", "demo", "--out", out, "--quiet", "--json"])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    result = json.loads(done.stdout.splitlines()[-1])
    cost, evaluation = result["cost"], result["evaluation"]
    refusal = {side: evaluation[side]["refusal"]["harmful"] for side in ("base", "edited")}
    print(f"saber --help: {sorted(helps)[2]:.2f} s (median of 5)")
    print(f"saber run demo: {seconds:.0f} s, {peak:.2f} GiB at most")
    print(
        f"of that {cost['bare_forward_seconds']:.0f} s in {cost['forward_passes']} forward passes: "
        f"ratio {cost['seconds'] / cost['bare_forward_seconds']:.2f}"
    )
    for side, rate in refusal.items():
        print(f"{side}: {rate['count']}/{rate['n']} harmful refused")
    return 0


def _timed(command: list[str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, done


if __name__ == "__main__":
    sys.exit(main())
