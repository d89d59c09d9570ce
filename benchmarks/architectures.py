"""Discovery of residual writers on every architecture of the test zoo: exactness, leak, time and memory of each.

    python benchmarks/architectures.py [--only REGEX] [--page]

One line a family. `exact`: blocks, writers, axes, forms and gains are those read from the modelling source. `leak`:
what is left of a random direction after it left every writer; `naive`: if the norms behind the writers are ignored.
`--page` writes the table of docs/architectures.md.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the zoo is part of the tests

import torch
from tests import zoo
from tests.zoo import page

from saber.model.discovery import discover, leak_test

LEAK_FREE = 1e-6
D_MODEL = 64


@dataclass(frozen=True)
class Row:
    """What one family gave."""

    name: str
    line: str
    problems: tuple[str, ...]
    unexplained: int
    leak: float
    naive: float
    seconds: float
    leak_seconds: float
    mebibytes: float

    @property
    def exact(self) -> bool:
        """Nothing differs from the expectation."""
        return not self.problems

    @property
    def as_stated(self) -> bool:
        """It leaks if, and only if, the zoo says why."""
        return (self.leak > LEAK_FREE) == bool(zoo.ZOO[self.name].leaks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the zoo; 1 if any family is not as expected."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default="", metavar="REGEX", help="names of families, such as 'gemma|llama'"
    )
    parser.add_argument("--page", action="store_true", help="write the table of docs/architectures.md")
    asked = parser.parse_args(arguments)
    if asked.page and asked.only:
        parser.error("--page needs all families: leave out --only")
    chosen = [name for name in zoo.ZOO if re.search(asked.only, name)]
    torch.set_num_threads(1)
    rows = []
    print(f"{'family':20s} {'exact':5s} {'leak':>7s} {'naive':>7s} {'CPU s':>6s} {'leak s':>6s} {'MiB':>4s}")
    for name in chosen:
        rows.append(_measure(name))
        _show(rows[-1])
    if asked.page:
        page.write(row.line for row in rows)
    _summarise(rows)
    return int(not all(row.exact and row.as_stated for row in rows))


def _measure(name: str) -> Row:
    architecture = zoo.ZOO[name]
    model, inputs = zoo.build(architecture), zoo.inputs()
    before = _restart_peak()
    started = time.process_time()
    found = discover(model, inputs, D_MODEL)
    discovered = time.process_time()
    leak = leak_test(model, inputs, found)
    tested = time.process_time()
    return Row(
        name=name,
        line=page.row(name, page.Seen(architecture, found, leak)),
        problems=tuple(zoo.compare(architecture, model, found)),
        unexplained=len(found.unexplained),
        leak=leak.worst,
        naive=leak_test(model, inputs, found, use_gains=False).worst,
        seconds=discovered - started,
        leak_seconds=tested - discovered,
        mebibytes=_peak() - before,
    )


def _show(row: Row) -> None:
    architecture = zoo.ZOO[row.name]
    print(
        f"{row.name:20s} {'yes' if row.exact else 'NO':5s} {row.leak:7.0e} {row.naive:7.0e} {row.seconds:6.2f} "
        f"{row.leak_seconds:6.2f} {row.mebibytes:4.0f}"
        f"{'  unseen' if architecture.unseen else ''}{' but changed something' if architecture.changed else ''}"
        f"{f'  leaks by design: {architecture.leaks}' if architecture.leaks else ''}",
        flush=True,
    )
    for problem in row.problems:
        print(f"    {problem}")
    if not row.as_stated:
        print("    the leak is not as stated")


def _summarise(rows: Sequence[Row]) -> None:
    unseen = [row for row in rows if zoo.ZOO[row.name].unseen]
    leaky = [row for row in rows if zoo.ZOO[row.name].leaks]
    skips = [row for row in rows if row.leak > LEAK_FREE and not zoo.ZOO[row.name].leaks]
    slowest = max(rows, key=lambda row: row.seconds)
    largest = max(rows, key=lambda row: row.mebibytes)
    print(f"\nfamilies: {len(rows)}, exact: {sum(row.exact for row in rows)}")
    changed = [row.name for row in unseen if zoo.ZOO[row.name].changed]
    remark = f" (changed something: {', '.join(changed)})" if changed else ""
    print(
        f"never seen in development: {len(unseen)}, exact: {sum(row.exact for row in unseen)}, exact at the first run: "
        f"{len(unseen) - len(changed)}{remark}"
    )
    print(f"no leak: {sum(row.leak <= LEAK_FREE for row in rows)}, leaky by design: {len(leaky)}")
    for row in leaky:
        print(f"    {row.name}: {zoo.ZOO[row.name].leaks}")
    print(
        f"silent skips (a leak without a reason): {len(skips)} {' '.join(row.name for row in skips)}".rstrip()
    )
    print(
        f"slowest: {slowest.name} {slowest.seconds:.2f} CPU s; most memory: {largest.name} {largest.mebibytes:.0f} MiB"
    )


def _restart_peak() -> float:
    """Forget the process's peak memory (Linux); returns the present use in MiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def _peak() -> float:
    return _status("VmHWM")


def _status(key: str) -> float:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{key}:")) / 1024


if __name__ == "__main__":
    sys.exit(main())
