"""`saber run` on a tiny random model of each named family; prints how far the exports are from the edit in memory.

python benchmarks/architecture_runs.py [--only REGEX]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.pipeline.architectures import NAMED, Outcome, run


def line(name: str, found: Outcome, seconds: float) -> str:
    adapter = f"{found.adapter.in_place:.0e}" if found.adapter else "refused"
    forms = ", ".join(f"{count} {form}" for form, count in found.forms.items())
    ok = "ok" if found.undone and found.verified else "FAILED"
    return (
        f"{name:18} checkpoint {found.checkpoint.in_place:.0e}  hooks {found.checkpoint.hooks:.0e}  "
        f"adapter {adapter:8} edit {found.checkpoint.scale:.1e}  undo and verify {ok}  {seconds:4.0f} s  {forms}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="families whose names match")
    names = [name for name in (*NAMED, "gpt2") if re.search(parser.parse_args().only, name)]
    worst, carried = 0.0, 0
    for name in names:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as work:
            found = run(name, Path(work))
        worst = max(worst, found.checkpoint.in_place, found.checkpoint.hooks)
        carried += found.adapter is not None
        print(line(name, found, time.perf_counter() - started), flush=True)
    print(
        f"{len(names)} families: largest difference of logits {worst:.1e}; an adapter carries {carried} of them"
    )


if __name__ == "__main__":
    main()
