"""Trials that survive: every candidate of a search, whoever proposed it, is a trial of one Optuna study.

A trial is pending from its proposal until its evaluation is stored; a process that dies leaves its pending trials
behind, and the next one finds them. A finished evaluation is stored once, under its candidate's content key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saber.errors import StoreError
from saber.search.rescue import rescued, save_rescue
from saber.search.storage import Place, StorageLostError, close_storage, open_storage
from saber.search.trial import Evaluated, Proposal, canonical, content_key

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial

__all__ = ["Evaluated", "Proposal", "TrialStore", "content_key"]

_PROPOSAL, _RESULT, _SETTINGS = "proposal", "result", "settings"


class TrialStore:
    """The trials of one search in one Optuna study; one process at a time writes to it.

    Every method raises a StoreError when the storage is lost (file removed, server gone). What was finished is
    then written to `rescue`, and the next `open` takes it back from there.
    """

    def __init__(
        self, study: Study, storage: BaseStorage, place: Place, rescue: Path | None, owner: dict[str, Any]
    ) -> None:
        self.study = study
        self.place = place
        self.storage = storage
        self._rescue = rescue
        self._owner = owner  # what a rescued trial must agree with to be ours
        self._unsaved: dict[str, dict[str, Any]] = {}
        self._finished: dict[str, FrozenTrial] = {}
        self._waiting: dict[str, FrozenTrial] = {}

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        name: str,
        settings: Mapping[str, Any],
        directions: int = 2,
        rescue: Path | None = None,
    ) -> TrialStore:
        """Open a study, or begin it; evaluations that a dead process had almost stored are completed.

        Args:
            where: A journal file, or the URL of an SQL database (`postgresql://USER:PASSWORD@HOST/DATABASE`).
            name: The study's name.
            settings: What makes two evaluations comparable (model, prompts, seed, ...), as JSON values.
            directions: How many objectives are minimised.
            rescue: Where finished trials go when the storage is lost; beside the journal by default, for a
                database nowhere unless given.

        Raises:
            StoreError: The storage cannot be opened, or its study had other settings.
        """
        storage, place = open_storage(where)
        if rescue is None and place.journal is not None:
            rescue = place.journal.with_name(place.journal.name + ".rescued.jsonl")
        plain = json.loads(canonical(settings))
        owner = {"study": name, "objectives": directions, _SETTINGS: plain}
        try:
            with place.watched():
                study = _study(storage, name, directions)
                _check_settings(study, place, plain, directions)
            store = cls(study, storage, place, rescue, owner)
            with store.guarded():
                store._recover()
        except BaseException:
            close_storage(storage)
            raise
        return store

    def propose(self, key: str, params: Mapping[str, Any], *, proposer: str) -> bool:
        """Store a candidate before its evaluation.

        Returns:
            Whether it is to be evaluated: False when its evaluation is already stored.
        """
        from optuna.trial import TrialState, create_trial

        with self.guarded():
            self._sync()
            if key not in self._finished and key not in self._waiting:
                proposal = {"key": key, "params": json.loads(canonical(params)), "proposer": proposer}
                self.study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={_PROPOSAL: proposal}))
                self._sync()
            return key not in self._finished

    def record(
        self,
        key: str,
        objectives: Sequence[float],
        record: Mapping[str, Any],
        *,
        constraints: Sequence[float] = (),
    ) -> bool:
        """Store the evaluation of a proposed candidate, once.

        Returns:
            Whether it was stored: False when an evaluation of this candidate is already there, which stays.

        Raises:
            StoreError: A number is not finite, the candidate was never proposed, or the storage is lost.
        """
        numbers = {"objectives": list(map(float, objectives)), "constraints": list(map(float, constraints))}
        result = json.loads(canonical({**numbers, "record": dict(record)}))
        if len(objectives) != len(self.study.directions):
            raise StoreError(
                f"candidate {key} has {len(objectives)} objectives, the study {len(self.study.directions)}",
                hint="Give the study a new name.",
            )
        if key in self._waiting:
            self._unsaved[key] = result
        with self.guarded():
            self._sync()
            if key in self._finished:
                self._unsaved.pop(key, None)
                return False
            if key not in self._waiting:
                raise StoreError(f"candidate {key} was never proposed", hint="Please report this.")
            number = self._waiting[key].number
            self.trial(number).set_user_attr(
                _RESULT, result
            )  # from here on it is recovered, whatever happens
            self._finish(number)
            del self._unsaved[key]
            self._sync()
        return True

    def known(self) -> Mapping[str, Evaluated]:
        """Every stored evaluation by its candidate's key, in the order of their proposals."""
        with self.guarded():
            self._sync()
        return {key: Evaluated.read(trial) for key, trial in self._finished.items()}

    def pending(self) -> Mapping[str, Proposal]:
        """Every candidate that was proposed and not evaluated, also by a process that died."""
        with self.guarded():
            self._sync()
        return {key: Proposal.read(trial) for key, trial in self._waiting.items()}

    def trial(self, number: int) -> OptunaTrial:
        """A running trial of the study, to write to."""
        from optuna.trial import Trial

        study = self.storage.get_study_id_from_name(self.study.study_name)
        return Trial(self.study, self.storage.get_trial_id_from_study_id_trial_number(study, number))

    def label(self, number: int, key: str, params: Mapping[str, Any], *, proposer: str) -> None:
        """Make a running trial that a sampler asked for the proposal of a candidate."""
        proposal = {"key": key, "params": json.loads(canonical(params)), "proposer": proposer}
        self.trial(number).set_user_attr(_PROPOSAL, proposal)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """A block that talks to the storage; a lost storage becomes an error that says what is kept.

        Raises:
            StoreError: The storage is lost; what was finished lies in the rescue file.
        """
        try:
            with self.place.watched():
                yield
        except StorageLostError as lost:
            raise StorageLostError(f"{lost.message}; {self._save()}", hint=lost.hint) from None

    def close(self) -> None:
        """Let go of the storage's connections."""
        close_storage(self.storage)

    def __enter__(self) -> TrialStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sync(self) -> None:
        """Read the study; of two trials with one key the first that finished counts."""
        from optuna.trial import TrialState

        finished: dict[str, FrozenTrial] = {}
        waiting: dict[str, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING)):
            if _PROPOSAL in trial.user_attrs:
                into = finished if trial.state == TrialState.COMPLETE else waiting
                into.setdefault(trial.user_attrs[_PROPOSAL]["key"], trial)
        self._finished = finished
        self._waiting = {key: trial for key, trial in waiting.items() if key not in finished}

    def _recover(self) -> None:
        """Complete what a dead process had begun to store, and take back what was rescued."""
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _RESULT in trial.user_attrs:
                self._finish(trial.number)
            elif _PROPOSAL not in trial.user_attrs:  # a sampler was asked, and its answer never used
                self.study.tell(trial.number, state=TrialState.FAIL)
        self._sync()
        if self._rescue is not None and self._rescue.is_file():
            for trial in rescued(self._rescue, self._owner):
                self._take_back(trial)
            self._sync()
            save_rescue(self._rescue, self._owner, [])

    def _take_back(self, trial: FrozenTrial) -> None:
        """Store one rescued trial, unless the storage has it."""
        key = trial.user_attrs[_PROPOSAL]["key"]
        if key not in self._finished and key not in self._waiting:
            self.study.add_trial(trial)
        elif key not in self._finished and _RESULT in trial.user_attrs:
            number = self._waiting[key].number
            self.trial(number).set_user_attr(_RESULT, trial.user_attrs[_RESULT])
            self._finish(number)

    def _save(self) -> str:
        """Write all that this process knows to the rescue file; says what is kept."""
        if self._rescue is None:
            return f"the {len(self._finished)} finished trials that it had stored are wherever it is"
        trials = sorted([*self._finished.values(), *self._waiting.values()], key=lambda trial: trial.number)
        save_rescue(self._rescue, self._owner, trials, self._unsaved)
        return f"{len(self._finished) + len(self._unsaved)} finished trials are kept in {self._rescue}"

    def _finish(self, number: int) -> None:
        """Turn a running trial whose result is stored into a complete one."""
        trial = self.trial(number)
        result = trial.user_attrs[_RESULT]
        there = self.study.get_trials(deepcopy=False)[number].constraints
        for index, value in enumerate(result["constraints"]):
            if str(index) not in there:
                trial.set_constraint(str(index), value)
        self.study.tell(number, result["objectives"])


def _study(storage: BaseStorage, name: str, directions: int) -> Study:
    import optuna

    return optuna.create_study(
        storage=storage,
        study_name=name,
        directions=["minimize"] * directions,
        sampler=optuna.samplers.RandomSampler(seed=0),
        load_if_exists=True,
    )


def _check_settings(study: Study, place: Place, settings: dict[str, Any], directions: int) -> None:
    """Store the settings with a new study; an old one must have the same.

    Raises:
        StoreError: Other settings or another number of objectives; names the first that differ.
    """
    there = study.user_attrs.get(_SETTINGS)
    if there is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(_SETTINGS, settings)
        there = settings
    if there == settings and len(study.directions) == directions:
        return
    there = {**(there or {}), "objectives": len(study.directions)}
    here = {**settings, "objectives": directions}
    keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
    told = [f"{key} was {there.get(key)!r}, is {here.get(key)!r}"[:120] for key in keys[:3]]
    raise StoreError(
        f"the study {study.study_name!r} in {place.shown} was searched with other settings: {'; '.join(told)}",
        hint="Resume with the settings of that search, or give a new folder or study name.",
    )
