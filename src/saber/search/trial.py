"""One candidate of a search as it is stored: proposed, or evaluated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from saber.errors import StoreError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Proposal:
    """A candidate that waits for its evaluation.

    Attributes:
        key: Content key.
        params: What the candidate is made of, as JSON values.
        proposer: Who proposed it: `qp`, `tpe`, `nsga2`, `grid`, ...
        number: Its place in the study's order of proposals.
    """

    key: str
    params: Mapping[str, Any]
    proposer: str
    number: int

    @classmethod
    def read(cls, trial: FrozenTrial) -> Proposal:
        """The proposal that a trial of the study holds."""
        return Proposal(**trial.user_attrs["proposal"], number=trial.number)


@dataclass(frozen=True)
class Evaluated(Proposal):
    """A candidate whose evaluation is stored.

    Attributes:
        objectives: The values that are minimised.
        constraints: Feasible where every one is <= 0.
        record: Everything else that was measured, as JSON values.
    """

    objectives: tuple[float, ...]
    constraints: tuple[float, ...]
    record: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, trial: FrozenTrial) -> Evaluated:
        """The evaluation that a complete trial of the study holds."""
        result = trial.user_attrs["result"]
        return cls(
            **trial.user_attrs["proposal"],
            number=trial.number,
            objectives=tuple(result["objectives"]),
            constraints=tuple(result["constraints"]),
            record=result["record"],
        )

    @property
    def feasible(self) -> bool:
        """Whether no constraint is violated."""
        return all(value <= 0 for value in self.constraints)


def content_key(params: Mapping[str, Any]) -> str:
    """A candidate's key: the first 16 hex digits of the SHA-256 of its parameters as sorted JSON.

    Raises:
        StoreError: A value is not finite or not JSON.
    """
    return hashlib.sha256(canonical(params).encode()).hexdigest()[:16]


def canonical(data: Any) -> str:
    """Sorted JSON; the same data gives the same text.

    Raises:
        StoreError: A value is not finite or not JSON.
    """
    try:
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"a trial cannot be stored: {error}",
            hint="Undefined numbers are stored as null, tensors as lists; please report this run.",
        ) from error
