"""Candidates of a search, and everything that is measured of one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from saber.evaluation.estimate import Estimate, wilson

Values = NDArray[np.float64]
"""One number a prompt; nan where there is none."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """Strengths for every unit of the bank.

    Attributes:
        alpha: Strengths (n), float32.
        origin: Who proposed them: qp, tpe or nsga2.
        params: What they were made from.
        predicted: Predicted mean refusal log-odds and drift; empty where nothing was predicted.
    """

    alpha: Float[Tensor, " n"]
    origin: str
    params: Mapping[str, float]
    predicted: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """First 16 hex digits of the strengths' SHA-256: equal strengths are one candidate, whoever proposed them."""
        return hashlib.sha256(self.alpha.float().numpy().tobytes()).hexdigest()[:16]


@dataclass(eq=False)
class Measured:
    """What is known of a candidate so far; prompts are in the order of SELECT.

    Attributes:
        log_odds: First-token refusal log-odds by role.
        drift: KL of each recorded prompt, as the settings measure it.
        refused: By role, 1 where it refuses, 0 where not, nan where not asked or not scored.
        broken: The same for degenerate and empty answers.
        asked: By role, places of the prompts that were put to it.
        dropped: Why its race ended early; empty where it did not.
    """

    log_odds: dict[str, Values]
    drift: Values
    refused: dict[str, Values] = field(default_factory=dict)
    broken: dict[str, Values] = field(default_factory=dict)
    asked: dict[str, set[int]] = field(default_factory=dict)
    dropped: str = ""

    def refuses(self, role: str) -> Values:
        """Refusals as generated, or read off the sign of the log-odds where nothing was generated yet."""
        if role in self.refused:
            return self.refused[role]
        odds = self.log_odds[role]
        return np.where(np.isnan(odds), np.nan, (odds > 0).astype(np.float64))

    def unasked(self, role: str) -> int:
        """Prompts of a role that were never put to it; an answer that cannot be scored was asked."""
        return len(self.refused[role]) - len(self.asked.get(role, ()))

    def seen(self, role: str, places: Sequence[int]) -> None:
        """Note that prompts were put to it."""
        self.asked.setdefault(role, set()).update(places)

    @property
    def mean_drift(self) -> float:
        """Mean over prompts, nats per token; nan if any is not finite."""
        return float(self.drift.mean()) if np.isfinite(self.drift).all() else math.nan

    def rate(self, role: str, places: Sequence[int] | None = None) -> Estimate:
        """Share of refused answers with Wilson's interval."""
        found = self.refused[role] if places is None else self.refused[role][list(places)]
        return share(found)


def share(hits: Values, *, confidence: float = 0.95) -> Estimate:
    """Wilson's interval of a share; nan counts as unscored."""
    scored = hits[~np.isnan(hits)]
    return wilson(int(scored.sum()), len(scored), confidence=confidence, unscored=len(hits) - len(scored))


def as_json(values: Values) -> list[float | None]:
    """Numbers, with null for nan."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def from_json(values: Sequence[float | None]) -> Values:
    """The inverse of `as_json`."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def as_array(values: Tensor) -> Values:
    """A tensor as float64 numbers."""
    return values.detach().to("cpu", torch.float64).numpy()


def strength_row(alpha: Float[Tensor, " n"]) -> dict[str, Any]:
    """Mean and largest strength."""
    return {"mean": float(alpha.mean()), "max": float(alpha.max())}
