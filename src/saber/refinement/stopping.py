"""When refinement ends: pure functions on what was measured on SELECT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

_MOST_UNSCORED = 0.1
"""Largest share of unscored answers under which a refusal rate says that a model is quiet."""


@runtime_checkable
class Rate(Protocol):
    """A proportion with its interval."""

    @property
    def value(self) -> float | None: ...  # noqa: D102
    @property
    def high(self) -> float | None: ...  # noqa: D102
    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def unscored(self) -> int: ...  # noqa: D102


@runtime_checkable
class Signal(Protocol):
    """What one look at SELECT says about an edited model (`kept_refusal`: share of the base's severe refusals)."""

    @property
    def refusal(self) -> Rate: ...  # noqa: D102
    @property
    def kept_refusal(self) -> Rate: ...  # noqa: D102
    @property
    def log_odds(self) -> float | None: ...  # noqa: D102
    @property
    def drift(self) -> float | None: ...  # noqa: D102
    @property
    def degenerate(self) -> Rate: ...  # noqa: D102


@dataclass(frozen=True)
class Criteria:
    """Limits of refinement.

    Attributes:
        refusal_target: Refusal rate on SELECT that counts as quiet.
        drift_budget: Most drift, nats per token.
        kept_refusal_floor: Least share of the base's severe refusals that stays.
        degenerate_limit: Most degenerate or empty answers: garbage is no refusal either.
        min_gain: Least relative growth of the dominated area that counts as progress.
        stop_at_target: Whether meeting the target ends refinement.
    """

    refusal_target: float
    drift_budget: float
    kept_refusal_floor: float
    degenerate_limit: float
    min_gain: float
    stop_at_target: bool


def quiet(signal: Signal, criteria: Criteria) -> bool:
    """Whether the upper confidence limit of refusal meets the target.

    A SELECT split that is too small to prove the target is met by zero refusals. A model that breaks a constraint, or
    whose answers mostly cannot be scored, is never quiet.
    """
    rate = signal.refusal
    if rate.value is None or rate.high is None or violated(signal, criteria):
        return False
    if rate.unscored > _MOST_UNSCORED * (rate.n + rate.unscored):
        return False
    return rate.value == 0.0 or rate.high <= criteria.refusal_target


def violated(signal: Signal, criteria: Criteria) -> str | None:
    """The constraint that an edited model breaks, in words; None if it breaks none."""
    if signal.drift is None:
        return "drift could not be measured: the edited model's logits are not finite"
    if signal.drift > criteria.drift_budget:
        return f"drift {signal.drift:.3f} exceeds the budget {criteria.drift_budget:.3f} nats per token"
    kept = signal.kept_refusal.value
    if kept is None and criteria.kept_refusal_floor > 0:
        return "kept refusals could not be scored: the base refuses no severe prompt of SELECT, or answers are unscored"
    if kept is not None and kept < criteria.kept_refusal_floor:
        return f"{kept:.0%} of the base's severe refusals are kept, the floor is {criteria.kept_refusal_floor:.0%}"
    broken = signal.degenerate.value
    if broken is not None and broken > criteria.degenerate_limit:
        return f"{broken:.0%} of the answers are degenerate, the limit is {criteria.degenerate_limit:.0%}"
    return None


def dominated_area(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Area dominated by (refusal, drift) points, both minimised, up to the reference point."""
    area, best = 0.0, reference[1]
    for refusal, drift in sorted(points):
        if refusal < reference[0] and drift < best:
            area += (reference[0] - refusal) * (best - drift)
            best = drift
    return area


def stalled(areas: Sequence[float], min_gain: float) -> bool:
    """Whether the dominated area grew by less than `min_gain` twice in a row."""
    if len(areas) < 3:
        return False
    return all(
        now - before < min_gain * max(before, 1e-12)
        for before, now in zip(areas[-3:-1], areas[-2:], strict=True)
    )
