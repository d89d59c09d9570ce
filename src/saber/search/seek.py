"""Proposes candidates and races them: along paths of quadratic programs, or as Optuna samples them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from saber.ablation.plan import EditPlan
from saber.config import RunConfig
from saber.pipeline.functional import Sensitivity
from saber.search.candidate import Candidate, Measured
from saber.search.judge import Rules, Verdict, judge
from saber.search.optimise import propose_with
from saber.search.panel import Panel
from saber.search.propose import between, of_path, paths, profile, profile_space
from saber.search.race import race
from saber.search.trials import TrialStore
from saber.watch import Watch

_ROUND = 0.75
"""Share of the points that follow paths; the rest goes where a path crosses a limit."""
_FAR = 0.15
"""Difference of refusal rates between neighbours that leaves a gap in the front."""
_WORST = 1e6
"""Stored for an objective that is not finite."""


class _OutOfTimeError(Exception):
    """The budget is spent in the middle of a batch."""


@dataclass
class Seeker:
    """A search under way.

    Attributes:
        config: The run's settings.
        plan: Whole directions, none of them weighted.
        sensitivity: Their units, differentiated.
        panel: Measures candidates.
        rules: What a point must obey.
        store: Where candidates are kept; None keeps none.
        watch: Who follows.
        paths: Candidates of each path, from the faintest.
        started: When the budget began, on the monotonic clock.
    """

    config: RunConfig
    plan: EditPlan
    sensitivity: Sensitivity
    panel: Panel
    rules: Rules
    store: TrialStore | None
    watch: Watch
    paths: list[list[Candidate]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def in_time(self) -> bool:
        """Whether the budget lasts."""
        return time.monotonic() - self.started < 60.0 * self.config.search.budget_minutes

    def candidates(self) -> list[Candidate]:
        """Everything that was proposed and measured, in order, each once."""
        found = self._on_paths() if self.config.search.optimizer == "qp" else self._sampled()
        return list({candidate.key: candidate for candidate in found}.values())

    def _on_paths(self) -> list[Candidate]:
        upper, points = self.plan.most(self.sensitivity.bank.units), self.config.search.points
        for weight, path in paths(self.sensitivity, self.config, upper, max(2, int(_ROUND * points))):
            made = of_path(path, weight, self.config.search.goal)
            self._store(made)
            self.paths.append(made)
            self.panel.screen(made)
            self._say()
            if not self.in_time():
                self.watch.warn("the budget is spent: fewer paths than asked for")
                break
        found = [candidate for made in self.paths for candidate in made]
        self._race(found)
        more = self._crossings(points - len(found)) if self.in_time() else []
        if more:
            self._store(more)
            found += more
            self._race(found)
        return found

    def _store(self, candidates: Sequence[Candidate]) -> None:
        if self.store is not None:
            for candidate in candidates:
                self.store.propose(candidate.key, candidate.params, proposer=candidate.origin)

    def _race(self, candidates: Sequence[Candidate]) -> None:
        rules = self.rules
        race(
            candidates,
            self.panel,
            rules,
            others=[role for role in ("borderline",) if role not in (rules.target, *rules.kept)],
            tolerance=self.config.search.tolerance,
            in_time=self.in_time,
            on_look=self._say,
        )
        if self.store is not None:
            for candidate in {c.key: c for c in candidates}.values():
                objectives, constraints, record = row(candidate, self.panel.measured[candidate.key], rules)
                self.store.record(candidate.key, objectives, record, constraints=constraints)

    def _crossings(self, most: int) -> list[Candidate]:
        """Between neighbours on a path of which only one is feasible or quiet, or whose refusals lie far apart."""
        gaps = []
        for made in self.paths:
            path = [self._base(made[0]), *made] if made else []
            verdicts = [self._untouched(), *(judge(self.panel.measured[c.key], self.rules) for c in made)]
            for low, high, a, b in zip(path, path[1:], verdicts, verdicts[1:], strict=False):
                quiet = [v.refusal <= self.rules.refusal_target for v in (a, b)]
                crossing = a.feasible != b.feasible or quiet[0] != quiet[1]
                if low.key != high.key and (crossing or abs(a.refusal - b.refusal) > _FAR):
                    gaps.append((low, high))
        each = [most // len(gaps) + (place < most % len(gaps)) for place in range(len(gaps))]
        return [
            between(low, high, (step + 1) / (count + 1), self.sensitivity.fisher)
            for (low, high), count in zip(gaps, each, strict=True)
            for step in range(count)
        ]

    def _base(self, first: Candidate) -> Candidate:
        """The base as the start of a path."""
        odds = float(self.sensitivity.at_base[self.rules.target].values.mean())
        return Candidate(torch.zeros_like(first.alpha), "qp", first.params, {"log_odds": odds, "drift": 0.0})

    def _untouched(self) -> Verdict:
        """What the rules say of the base: it keeps everything."""
        asked = len(next(iter(self.panel.measured.values())).log_odds[self.rules.target])
        return Verdict(len(self.rules.base_refuses[self.rules.target]) / asked, 0.0, 0.0)

    def _sampled(self) -> list[Candidate]:
        """Candidates that Optuna proposes; every one is measured to its end."""
        section, bank, store = self.config.search, self.sensitivity.bank, self.store
        assert store is not None, "Optuna's trials have no store"
        upper, layers = self.plan.most(bank.units), self.plan.n_layers

        def candidate(params: Mapping[str, Any]) -> Candidate:
            return Candidate(profile(bank, upper, layers, params), section.optimizer, dict(params))

        def evaluate(batch: list[dict[str, Any]]) -> list[tuple[Any, Any, Any]]:
            if not self.in_time():
                raise _OutOfTimeError
            asked = [candidate(params) for params in batch]
            self._measure_wholly(asked)
            self._say()
            return [row(one, self.panel.measured[one.key], self.rules) for one in asked]

        try:
            propose_with(
                section.optimizer,  # type: ignore[arg-type]
                store,
                profile_space(bank),
                seed=self.config.seed,
                batch=section.batch,
                budget=section.points,
                evaluate=evaluate,
                startup=max(2, section.points // 4),
            )
        except _OutOfTimeError:
            self.watch.warn("the budget is spent: fewer points than asked for")
        found = [candidate(known.params) for known in store.known().values()]
        self._measure_wholly(found)  # from what the run folder remembers, unless the store is another's
        return found

    def _measure_wholly(self, candidates: Sequence[Candidate]) -> None:
        if not candidates:
            return
        measured = self.panel.screen(candidates)
        rules = self.rules
        self.panel.answer(candidates, rules.target, range(len(measured[0].log_odds[rules.target])))
        for role in rules.kept:
            self.panel.answer(candidates, role, rules.base_refuses.get(role, ()))

    def _say(self, living: int | None = None) -> None:
        """Points so far, the best one, and the time left."""
        known = list(self.panel.measured.values())
        verdicts = [judge(one, self.rules) for one in known]
        rates = [float(np.nanmean(one.refuses(self.rules.target))) for one in known]
        best = min(
            zip(rates, (v.drift for v in verdicts), strict=True),
            key=lambda pair: (round(pair[0], 2), pair[1]),
        )
        spent = (time.monotonic() - self.started) / 60.0
        left = max(0.0, self.config.search.budget_minutes - spent)
        racing = "" if living is None else f", {living} in the race"
        self.watch.note(
            f"{len(known)} of {self.config.search.points} points{racing}; fewest {self.rules.target} refusals so far, "
            f"constraints aside, {best[0]:.0%} at {best[1]:.4f} nats per token; {left:.0f} "
            "minutes of the budget left"
        )


def row(
    candidate: Candidate, found: Measured, rules: Rules
) -> tuple[tuple[float, ...], tuple[float, ...], dict[str, Any]]:
    """What a store keeps of a candidate: objectives, constraints and the rest."""
    verdict = judge(found, rules)
    rate = float(np.nanmean(found.refuses(rules.target)))
    objectives = tuple(value if np.isfinite(value) else _WORST for value in (rate, verdict.drift))
    record = {
        "origin": candidate.origin,
        "predicted": dict(candidate.predicted),
        "dropped": found.dropped,
        "violations": list(verdict.reasons),
        "alpha": candidate.alpha.tolist(),
    }
    return objectives, (verdict.violation,), record
