"""Measures candidates once: in this process or on Ray workers, and never again what a run folder remembers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from saber.evaluation.candidates import CandidateBench
from saber.files import append_jsonl, read_jsonl
from saber.search.candidate import Candidate, Measured, as_array, as_json, from_json
from saber.search.fleet import Fleet
from saber.store import RunFolder
from saber.watch import Watch

_TOGETHER = 8
"""Candidates of one task of a worker: small enough that little is lost with it."""
_HERE = 32
"""Candidates that this process measures together before it remembers them."""

Row = dict[str, Any]


@runtime_checkable
class Measure(Protocol):
    """Whoever can measure strengths; rows are JSON, one a candidate."""

    def screen(self, alphas: list[list[float]]) -> list[Row]: ...  # noqa: D102
    def answer(self, alphas: list[list[float]], role: str, places: list[int]) -> list[Row]: ...  # noqa: D102


class Bench:
    """A `Measure` over the candidates' bench of this process."""

    def __init__(self, bench: CandidateBench, *, first_token: bool) -> None:
        self._bench = bench
        self._first_token = first_token

    def screen(self, alphas: list[list[float]]) -> list[Row]:
        """Log-odds by role, and drift, of each candidate."""
        seen = self._bench.screen(torch.tensor(alphas))
        drift = as_array(seen.first_kl if self._first_token else seen.kl)
        odds = {role: as_array(values) for role, values in seen.log_odds.items()}
        return [
            {
                "log_odds": {role: as_json(values[i]) for role, values in odds.items()},
                "drift": as_json(drift[i]),
            }
            for i in range(len(alphas))
        ]

    def answer(self, alphas: list[list[float]], role: Any, places: list[int]) -> list[Row]:
        """Refusals and broken answers of each candidate at some prompts of a role."""
        found = self._bench.answer(torch.tensor(alphas), role, places)
        refused, broken = as_array(found.refused), as_array(found.broken)
        return [{"refused": as_json(refused[i]), "broken": as_json(broken[i])} for i in range(len(alphas))]


class Panel:
    """All measurements of a search.

    Attributes:
        measured: By candidate key.
        resumed: Measurements that the run folder knew already.
    """

    def __init__(
        self,
        measure: Measure | Fleet,
        folder: RunFolder | None,
        settings: str,
        sizes: Mapping[str, int],
        watch: Watch,
    ) -> None:
        """Read what was measured before.

        Args:
            measure: This process's bench, or workers that each have one.
            folder: Where measurements are kept; None keeps none.
            settings: Hash of all that a measurement depends on besides the strengths.
            sizes: Prompts of each role.
            watch: Who follows.
        """
        self._measure, self._sizes, self._watch = measure, sizes, watch
        self._file = None if folder is None else folder.state_path(f"measured-{settings[:16]}", ".jsonl")
        self.measured: dict[str, Measured] = {}
        self._known: dict[tuple[str, str], Row] = {}
        if self._file is not None and self._file.is_file():
            self._known = {(row["key"], row["what"]): row for row in read_jsonl(self._file)}
        self.resumed = len({key for key, what in self._known if what == "screen"})

    def screen(self, candidates: Sequence[Candidate]) -> list[Measured]:
        """Log-odds and drift of candidates."""
        for candidate, row in self._each(candidates, "screen", "screen", ()):
            odds = {role: from_json(values) for role, values in row["log_odds"].items()}
            self.measured.setdefault(candidate.key, Measured(odds, from_json(row["drift"])))
        return [self.measured[candidate.key] for candidate in candidates]

    def answer(self, candidates: Sequence[Candidate], role: str, places: Sequence[int]) -> None:
        """Let candidates answer some prompts of a role."""
        if not candidates or not len(places):
            return
        what = f"{role} {places[0]}-{places[-1]}"
        for candidate, row in self._each(candidates, what, "answer", (role, list(places))):
            found = self.measured[candidate.key]
            found.seen(role, places)
            for name, kept in (("refused", found.refused), ("broken", found.broken)):
                values = kept.setdefault(role, np.full(self._sizes[role], np.nan))
                values[list(places)] = from_json(row[name])

    def _each(
        self, candidates: Sequence[Candidate], what: str, method: str, rest: tuple[Any, ...]
    ) -> Iterator[tuple[Candidate, Row]]:
        unique = {candidate.key: candidate for candidate in candidates}
        new = [candidate for key, candidate in unique.items() if (key, what) not in self._known]
        size = _TOGETHER if isinstance(self._measure, Fleet) else _HERE
        groups = [new[i : i + size] for i in range(0, len(new), size)]
        done = 0
        with self._watch.stage(f"{what}, {len(unique)} candidates") as step:
            for group, rows in self._measured_groups(groups, method, rest):
                for candidate, row in zip(group, rows, strict=True):
                    self._remember(candidate.key, what, row)
                done += len(group)
                step(done, len(new))
        for key, candidate in unique.items():
            yield candidate, self._known[key, what]

    def _measured_groups(
        self, groups: Sequence[Sequence[Candidate]], method: str, rest: tuple[Any, ...]
    ) -> Iterator[tuple[Sequence[Candidate], list[Row]]]:
        alphas = [[candidate.alpha.tolist() for candidate in group] for group in groups]
        if isinstance(self._measure, Fleet):
            tasks = [(f"{method} {i}", (given, *rest)) for i, given in enumerate(alphas)]
            for key, rows in self._measure.map(method, tasks):
                yield groups[int(str(key).rpartition(" ")[2])], rows
            return
        for group, given in zip(groups, alphas, strict=True):
            yield group, getattr(self._measure, method)(given, *rest)

    def _remember(self, key: str, what: str, row: Row) -> None:
        whole = {"key": key, "what": what, **row}
        self._known[key, what] = whole
        if self._file is not None:
            append_jsonl(self._file, whole)
