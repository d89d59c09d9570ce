"""What a search on the lab's bench says under a configuration."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pytest

from saber.ablation.plan import EditPlan
from saber.config import RunConfig
from saber.evaluation.evaluate import BaseMeasurement
from saber.pipeline.functional import Sensitivity
from saber.pipeline.run import measure_select
from saber.pipeline.stages import empty_plan
from saber.pipeline.strengths import whole_plan
from saber.prompts import ROLES
from saber.search.drive import _Search
from saber.search.fleet import Fleet
from saber.search.judge import judge, recommend
from saber.search.race import race
from saber.search.seek import Seeker
from saber.store import RunFolder
from saber.watch import Silent
from tests.pipeline.lab import Lab

QP = ("entanglement.measure=functional", "ablation.strengths=qp", "ablation.scope=all")
"""Derivatives, and strengths by quadratic programs."""


class Asked(Fleet):
    """Workers that are asked for and not started."""

    size = 0

    def __init__(self, build: Any, **given: Any) -> None:
        self.given = given

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *problem: object) -> None:
        """Nothing was started."""


@dataclass
class SearchLab(Lab):
    """A lab that searches too.

    Attributes:
        numbers: Names of run folders.
    """

    numbers: Iterator[int] = field(default_factory=itertools.count)

    @cached_property
    def _searched(self) -> tuple[BaseMeasurement, EditPlan, Sensitivity]:
        """What every search starts from: the base on SELECT, and the units of the best direction, differentiated."""
        config = self.config(*QP)
        base = measure_select(self.bench, config, Silent(), roles=ROLES)
        (best,) = self.seen.ranked[:1]
        plan = whole_plan(empty_plan(self.bench, config), replace(self.seen, ranked=(best,)), config, 0)
        return base, plan, Sensitivity(self.bench, config, self.bench.compiler.bank(plan), Silent())

    def search(self, config: RunConfig) -> Any:
        """Candidates of a search, what became of them, and the recommended one."""
        base, plan, known = self._searched
        sensitivity = Sensitivity(self.bench, config, known.bank, Silent())
        vars(sensitivity).update(fisher=known.fisher, at_base=known.at_base)
        folder = RunFolder.create(self.folder / "search" / str(next(self.numbers)))
        asked = _Search("demo", config, folder, Silent(), self.bench, "settings")
        tolerances: list[float] = []  # so small a SELECT drops nobody: what the race is told must do

        def observed(*given: Any, **named: Any) -> Any:
            tolerances.append(named["tolerance"])
            return race(*given, **named)

        with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
            patch.setattr("saber.search.seek.race", observed)
            panel, store = asked._panel(base, known.bank, stack), asked._store(stack)
            rules = asked._rules(base)
            seeker = Seeker(config, plan, sensitivity, panel, rules, store, Silent())
            found = seeker.candidates()
        measured = [panel.measured[candidate.key] for candidate in found]
        verdicts = [judge(one, rules) for one in measured]
        keys = [candidate.key for candidate in found]
        return keys, tolerances, verdicts, recommend(verdicts, measured, rules)

    def workers(self, config: RunConfig) -> Any:
        """Who would measure candidates, and where they would be kept; no cluster is started."""
        base, _, known = self._searched
        folder = RunFolder.create(self.folder / "search" / str(next(self.numbers)))
        job = _Search("demo", config, folder, Silent(), self.bench, "settings")
        with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
            patch.setattr("saber.search.worker.Fleet", Asked)
            measure = job._panel(base, known.bank, stack)._measure
            job._store(stack)
        files = sorted(path.name for path in folder.path.rglob("*"))
        return getattr(measure, "given", None), files, (self.folder / "other.journal").exists()
