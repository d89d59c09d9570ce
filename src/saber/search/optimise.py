"""Optuna's samplers over a small space of candidates: for strengths and options that have no gradient.

Proposals are a function of the seed, the stored trials and the place of the proposal: every one is drawn by a
sampler with a seed of its own, so a search that was interrupted goes on as if it had not been. Sources: MOTPE (Ozaki et
al. 2022) with constraints as in c-TPE (Watanabe and Hutter 2023), and NSGA-II (Deb et al. 2002), as Optuna has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from saber.errors import ConfigError, StoreError
from saber.search.trial import Evaluated, content_key
from saber.search.trials import TrialStore

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

Sampler = Literal["tpe", "nsga2"]
Measured = tuple[Sequence[float], Sequence[float], Mapping[str, Any]]
"""Objectives (minimised), constraints (feasible where <= 0) and the record of one candidate."""

RETRIES = 10
"""How often a sampler may propose a candidate that is there already before one is drawn uniformly instead."""


@dataclass(frozen=True)
class Real:
    """A real number between `low` and `high`, both included; `log` searches its logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log)


@dataclass(frozen=True)
class Integer:
    """A whole number between `low` and `high`, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_bounds(float(self.low), float(self.high), False)


@dataclass(frozen=True)
class Choice:
    """One of a few options without an order: numbers, words, true, false or null."""

    options: tuple[str | float | int | bool | None, ...]

    def __post_init__(self) -> None:
        if not self.options or len(set(self.options)) != len(self.options):
            raise ConfigError(f"a choice between {self.options}", hint="Give at least one option, each once.")


Space = Mapping[str, Real | Integer | Choice]


def propose_with(
    sampler: Sampler,
    store: TrialStore,
    space: Space,
    *,
    seed: int,
    batch: int,
    budget: int,
    evaluate: Callable[[list[dict[str, Any]]], Iterable[Measured]],
    startup: int = 20,
    key: Callable[[Mapping[str, Any]], str] = content_key,
) -> list[Evaluated]:
    """Ask for batches of candidates, evaluate and store them until the budget is spent.

    The trials that the store has already count towards the budget; those that were proposed and not evaluated come
    first. A batch is diverse: TPE takes candidates under evaluation for bad ones (constant liar), NSGA-II draws from
    one generation. No candidate is evaluated twice: a sampler that proposes a known one is asked again up to
    `RETRIES` times, then one is drawn uniformly.

    Args:
        sampler: `tpe` (MOTPE) or `nsga2`.
        store: Where trials live; all of its trials are this sampler's.
        space: What a candidate's parameters may be.
        seed: Same seed, space, batch and startup: same proposals, whether resumed or not.
        batch: Candidates that are evaluated together.
        budget: Evaluations in all; fewer where a finite space has fewer candidates.
        evaluate: Measures a batch; it may yield one by one, in order, and each is stored when it comes.
        startup: The first proposals, drawn at random: TPE's startup trials, NSGA-II's population.
        key: The content key of a candidate's parameters.

    Returns:
        Every evaluation in the store, in the order of their proposals.

    Raises:
        ConfigError: No budget, batch or space.
        StoreError: The store holds another space or other proposers' trials, or is lost.
    """
    _check_request(space, batch, budget, startup)
    ask = _Asker(sampler, store, space, seed, startup, key)
    ask.check()
    size = _size(space)
    while True:
        known, pending = store.known(), dict(store.pending())
        asked = len(known) + len(pending)
        # a batch that was cut short while it was asked for is filled up first
        room = int(min(budget, size)) - asked
        wanted = (batch - asked % batch) if not pending or asked % batch else 0
        for _ in range(max(0, min(wanted, room))):
            ask.one()
        todo = sorted(store.pending().values(), key=lambda proposal: proposal.number)
        if not todo:
            return list(known.values())
        results = evaluate([dict(proposal.params) for proposal in todo])
        for proposal, (objectives, constraints, record) in zip(todo, results, strict=True):
            store.record(proposal.key, objectives, record, constraints=constraints)


class _Asker:
    """Asks an Optuna sampler for one new candidate after the other."""

    def __init__(
        self,
        sampler: Sampler,
        store: TrialStore,
        space: Space,
        seed: int,
        startup: int,
        key: Callable[[Mapping[str, Any]], str],
    ) -> None:
        import optuna

        self._sampler = sampler
        self._store = store
        self._seed = seed
        self._startup = startup
        self._key = key
        self._space = {name: _distribution(one) for name, one in space.items()}
        self._study = optuna.load_study(
            study_name=store.study.study_name, storage=store.storage, sampler=store.study.sampler
        )

    def check(self) -> None:
        """See that the store's trials are this sampler's, in this space.

        Raises:
            StoreError: They are not.
        """
        with self._store.guarded():
            trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if "proposal" not in trial.user_attrs:
                continue
            proposer = trial.user_attrs["proposal"]["proposer"]
            if proposer != self._sampler or trial.distributions != self._space:
                what = "in another space" if proposer == self._sampler else f"by {proposer!r}"
                raise StoreError(
                    f"the study in {self._store.place.shown} has trials that were proposed {what}; "
                    f"{self._sampler!r} cannot go on from them",
                    hint="Resume with the search that made them, or give a new folder or study name.",
                )

    def one(self) -> None:
        """Ask for a candidate that is not in the store and leave it there as pending."""
        from optuna.trial import TrialState

        known = {*self._store.known(), *self._store.pending()}
        attempt = 0
        with self._store.guarded():
            while True:
                self._study.sampler = self._fresh(len(known), attempt)
                trial = self._study.ask(self._space)
                key = self._key(trial.params)
                if key not in known:
                    self._store.label(trial.number, key, trial.params, proposer=self._sampler)
                    return
                self._study.tell(trial.number, state=TrialState.FAIL)
                attempt += 1

    def _fresh(self, index: int, attempt: int) -> BaseSampler:
        """A sampler whose draws depend on the seed, the place of the proposal and the attempt alone."""
        import numpy as np
        from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler

        seed = int(np.random.SeedSequence([self._seed, index, attempt]).generate_state(1)[0])
        if attempt > RETRIES:
            return RandomSampler(seed=seed)
        if self._sampler == "tpe":
            return TPESampler(seed=seed, n_startup_trials=self._startup, constant_liar=True)
        return NSGAIISampler(seed=seed, population_size=self._startup)


def _distribution(one: Real | Integer | Choice) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(one, Real):
        return FloatDistribution(one.low, one.high, log=one.log)
    if isinstance(one, Integer):
        return IntDistribution(one.low, one.high)
    return CategoricalDistribution(one.options)


def _size(space: Space) -> float:
    """How many candidates a space has; infinite with a real number in it."""
    sizes = [
        len(one.options)
        if isinstance(one, Choice)
        else one.high - one.low + 1
        if isinstance(one, Integer)
        else (math.inf if one.high > one.low else 1)
        for one in space.values()
    ]
    return float(math.prod(sizes))


def _check_bounds(low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high and (low > 0 or not log)):
        raise ConfigError(
            f"a range from {low} to {high}{' in logarithms' if log else ''}",
            hint="The lower end comes first, both are finite, and above 0 where logarithms are searched.",
        )


def _check_request(space: Space, batch: int, budget: int, startup: int) -> None:
    if budget < 1:
        raise ConfigError(
            f"a budget of {budget} evaluations finds nothing", hint="Give a budget of 1 or more."
        )
    if batch < 1:
        raise ConfigError(f"a batch of {batch} candidates", hint="Give a batch of 1 or more.")
    if startup < 2:
        raise ConfigError(f"{startup} random proposals to start with", hint="Give 2 or more.")
    if not space:
        raise ConfigError("a search space without parameters", hint="Give at least one parameter to vary.")
