"""The refinement loop: extend the plan, measure on SELECT, look for what woke up, stop for a stated reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from saber.ablation.plan import EditPlan
from saber.refinement.stopping import Criteria, Signal, dominated_area, quiet, stalled, violated

SignalT = TypeVar("SignalT", bound=Signal)
_PROBE_SCALE = 0.1
"""Scale of a pass's strengths at which the slope of the refusal log-odds is taken."""
_NONE_LEFT = "no direction stands above its null any more"
_ALL_SKIPPED = "every direction above its null is too entangled or removed already"


@dataclass(frozen=True)
class Pass(Generic[SignalT]):
    """One refinement pass and its hydra diagnostics.

    Attributes:
        index: 0-based.
        plan: The plan after this pass.
        signal: What SELECT says of it.
        new_directions: Directions that this pass added.
        fdr_max: Highest cross-fitted FDR among the new directions (for reference; refinement never stops on FDR).
        predicted_drop: Drop of the mean refusal log-odds, extrapolated linearly from a tenth of this pass's strengths.
        actual_drop: Measured drop.
        self_repair: `1 - actual / predicted`; None where nothing was predicted.
        kept: False when the pass broke a constraint and was taken back.
    """

    index: int
    plan: EditPlan
    signal: SignalT
    new_directions: int
    fdr_max: float
    predicted_drop: float | None
    actual_drop: float | None
    self_repair: float | None
    kept: bool


@dataclass(frozen=True)
class Refinement(Generic[SignalT]):
    """Where refinement ended, and why."""

    plan: EditPlan
    signal: SignalT
    passes: tuple[Pass[SignalT], ...]
    stopped: str


def refine(
    empty: EditPlan,
    base: SignalT,
    *,
    grow: Callable[[EditPlan, int], EditPlan],
    measure: Callable[[EditPlan], SignalT],
    log_odds: Callable[[EditPlan], float | None],
    criteria: Criteria,
    max_iterations: int,
    finished: tuple[Pass[SignalT], ...] = (),
    on_pass: Callable[[Pass[SignalT]], None] | None = None,
) -> Refinement[SignalT]:
    """Run passes until the first reason to stop (METHOD section 5).

    Args:
        empty: A plan without vectors.
        base: Signal of the unedited model.
        grow: Probes the model edited by a plan and returns the plan with this pass's directions added.
        measure: Signal of a plan on SELECT.
        log_odds: Mean refusal log-odds of a plan on SELECT's harmful prompts: cheap, no answers generated.
        criteria: Limits.
        max_iterations: Most passes.
        finished: Passes of an interrupted run.
        on_pass: Called after each new pass.
    """
    reference = (1.0, criteria.drift_budget)
    points = [_point(base), *(_point(p.signal) for p in finished if p.kept)]
    areas = [dominated_area(points[: i + 1], reference) for i in range(len(points))]
    passes = list(finished)
    kept = [p for p in finished if p.kept]
    plan, signal = (kept[-1].plan, kept[-1].signal) if kept else (empty, base)
    reason = _reason_to_stop(passes, areas, criteria)
    while reason is None and len(passes) < max_iterations:
        grown = grow(plan, len(passes))
        if len(grown.vectors) == len(plan.vectors):
            skipped = len(grown.skipped) > len(plan.skipped)
            reason = _ALL_SKIPPED if skipped else _NONE_LEFT
            plan = grown
            break
        result = _measure_pass(plan, grown, signal, len(passes), measure, log_odds)
        broken = violated(result.signal, criteria)
        if broken:
            result = replace(result, kept=False)
        passes.append(result)
        if on_pass:
            on_pass(result)
        if broken:
            reason = _taken_back(result, criteria)
            break
        plan, signal = grown, result.signal
        points.append(_point(signal))
        areas.append(dominated_area(points, reference))
        reason = _reason_to_stop(passes, areas, criteria)
    return Refinement(plan, signal, tuple(passes), reason or f"max_iterations = {max_iterations}")


def _measure_pass(
    plan: EditPlan,
    grown: EditPlan,
    before: SignalT,
    index: int,
    measure: Callable[[EditPlan], SignalT],
    log_odds: Callable[[EditPlan], float | None],
) -> Pass[SignalT]:
    new = [v for v in grown.vectors if v.pass_index == index]
    weak = log_odds(grown.weakened(index, _PROBE_SCALE))
    after = measure(grown)
    slope = _drop(before.log_odds, weak, 1.0 / _PROBE_SCALE)
    actual = _drop(before.log_odds, after.log_odds)
    return Pass(
        index=index,
        plan=grown,
        signal=after,
        new_directions=len({v.direction.name for v in new}),
        fdr_max=max(v.direction.fdr for v in new),
        predicted_drop=slope,
        actual_drop=actual,
        self_repair=1.0 - actual / slope if actual is not None and slope and slope > 0 else None,
        kept=True,
    )


def _drop(before: float | None, after: float | None, factor: float = 1.0) -> float | None:
    return None if before is None or after is None else factor * (before - after)


def _reason_to_stop(passes: list[Pass[SignalT]], areas: list[float], criteria: Criteria) -> str | None:
    if not passes:
        return None
    if not passes[-1].kept:
        return _taken_back(passes[-1], criteria)
    if criteria.stop_at_target and quiet(passes[-1].signal, criteria):
        return "refusal target met on SELECT"
    if criteria.stop_at_target and stalled(areas, criteria.min_gain):
        return f"the dominated area grew by less than {criteria.min_gain:.0%} twice in a row"
    return None


def _taken_back(one: Pass[SignalT], criteria: Criteria) -> str:
    return f"{violated(one.signal, criteria)}; pass {one.index} was taken back"


def _point(signal: Signal) -> tuple[float, float]:
    refusal = signal.refusal.value
    return (1.0 if refusal is None else refusal, math.inf if signal.drift is None else signal.drift)


def line_search(
    plan: EditPlan,
    *,
    measure: Callable[[EditPlan], SignalT],
    full: SignalT,
    criteria: Criteria,
    steps: int,
    margin: float = 0.0,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[EditPlan, SignalT]:
    """Bisect for the smallest common scale of all strengths that keeps SELECT quiet.

    Drift grows with the scale, so the smallest quiet scale is the least drift on this ray; it is also the luckiest one
    on these prompts, so the scale returned is larger by the share `margin` (1 at most). A plan that is not quiet at
    full strength is returned as it is.
    """
    if not quiet(full, criteria):
        return plan, full
    low, high, best, signal = 0.0, 1.0, plan, full
    for step in range(steps):
        middle = (low + high) / 2
        candidate = plan.scaled(middle)
        measured = measure(candidate)
        if quiet(measured, criteria):
            high, best, signal = middle, candidate, measured
        else:
            low = middle
        if on_step:
            on_step(step + 1, steps)
    if margin and best.scale < 1.0:
        best = plan.scaled(min(1.0, best.scale * (1.0 + margin)))
        signal = measure(best)
    return best, signal
