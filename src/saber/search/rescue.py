"""Trials written to a plain file when their storage is lost, and taken back when a storage is there again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saber.files import read_jsonl, write_jsonl

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def save_rescue(
    path: Path,
    owner: Mapping[str, Any],
    trials: Sequence[FrozenTrial],
    unsaved: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write trials as JSON lines in place of this owner's older ones; the file goes when nothing is left in it.

    Args:
        path: The rescue file; lines of other owners stay.
        owner: Study name and settings, which a reader must have too.
        trials: Finished and waiting trials in their order.
        unsaved: Results by content key that the storage did not take any more.

    Raises:
        StoreError: The file cannot be written.
    """
    others = [line for line in read_jsonl(path) if line["owner"] != owner]
    lines = others + [_line(owner, trial, unsaved or {}) for trial in trials]
    if lines:
        write_jsonl(path, lines)
    else:
        path.unlink(missing_ok=True)


def rescued(path: Path, owner: Mapping[str, Any]) -> Iterator[FrozenTrial]:
    """The trials of one owner in a rescue file, complete where they have a result, else running.

    Raises:
        StoreError: The file is damaged.
    """
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    for line in read_jsonl(path):
        if line["owner"] != owner:
            continue
        result = line["user_attrs"].get("result")
        attributes = {k: v for k, v in line["system_attrs"].items() if not k.startswith("constraints:")}
        constraints = enumerate(result["constraints"]) if result else ()
        yield create_trial(
            state=TrialState.COMPLETE if result else TrialState.RUNNING,
            values=result["objectives"] if result else None,
            params=line["params"],
            distributions={k: json_to_distribution(v) for k, v in line["distributions"].items()},
            user_attrs=line["user_attrs"],
            system_attrs=attributes,
            constraints={str(index): value for index, value in constraints},
        )


def _line(
    owner: Mapping[str, Any], trial: FrozenTrial, unsaved: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    from optuna.distributions import distribution_to_json

    attributes = dict(trial.user_attrs)
    key = attributes["proposal"]["key"]
    if key in unsaved:
        attributes["result"] = unsaved[key]
    return {
        "owner": dict(owner),
        "params": trial.params,
        "distributions": {name: distribution_to_json(one) for name, one in trial.distributions.items()},
        "user_attrs": attributes,
        "system_attrs": trial.system_attrs,
    }
