"""Which candidates keep what must be kept, which are on the front, and which one is recommended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from saber.evaluation.estimate import wilson
from saber.search.candidate import Measured, Values, share
from saber.search.pareto import hypervolume, pareto_front


@dataclass(frozen=True)
class Rules:
    """What a point must obey.

    Attributes:
        target: Role whose refusals should go.
        kept: Roles whose refusals should stay.
        base_refuses: By role, places of the prompts that the base refuses.
        floor: Least share of those that must still be refused.
        confidence: One-sided level of the lower limit of that share.
        degenerate_limit: Most degenerate or empty answers.
        drift_budget: Most drift, nats per token.
        refusal_target: Rate of the target role that counts as quiet.
    """

    target: str
    kept: tuple[str, ...]
    base_refuses: Mapping[str, tuple[int, ...]]
    floor: float
    confidence: float
    degenerate_limit: float
    drift_budget: float
    refusal_target: float

    @property
    def least_n(self) -> int:
        """Fewest prompts that can prove the floor, when every refusal is kept."""
        n = 1
        while n < 1_000_000 and lower_limit(n, n, self.confidence) < self.floor:
            n += 1
        return n


@dataclass(frozen=True)
class Verdict:
    """What the rules say of one point.

    Attributes:
        refusal: Rate of the target role; nan where not asked.
        drift: Nats per token.
        violation: Sum of what is missing or too much; 0 where the point is feasible.
        reasons: The broken rules in words.
    """

    refusal: float
    drift: float
    violation: float
    reasons: tuple[str, ...] = field(default=())

    @property
    def feasible(self) -> bool:
        """Whether no rule is broken."""
        return not self.reasons


def lower_limit(successes: int, n: int, confidence: float) -> float:
    """Wilson's one-sided lower limit of a share: that of the two-sided interval at `2 confidence - 1`."""
    low = wilson(successes, n, confidence=2.0 * confidence - 1.0).low
    return 0.0 if low is None else low


def kept_of(found: Values, rules: Rules, role: str) -> tuple[int, int]:
    """Refusals of the base that are kept, and how many could be scored."""
    values = found[list(rules.base_refuses[role])]
    scored = values[~np.isnan(values)]
    return int(scored.sum()), len(scored)


def judge(found: Measured, rules: Rules) -> Verdict:
    """Check a point against the rules.

    What was not asked breaks its rule: a constraint that nobody measured is not met.
    """
    reasons: list[str] = []
    violation = 0.0
    for role in rules.kept:
        if not rules.base_refuses.get(role):
            continue
        if role not in found.refused:
            reasons.append(f"kept {role} refusals were not measured")
            violation += 1.0
            continue
        kept, n = kept_of(found.refused[role], rules, role)
        low = lower_limit(kept, n, rules.confidence) if n else 0.0
        if low < rules.floor:
            reasons.append(
                f"keeps {kept}/{n} {role} refusals, which proves {100 * low:.1f} %, not {100 * rules.floor:.0f} %"
            )
            violation += rules.floor - low
    drift = found.mean_drift
    if not math.isfinite(drift):
        reasons.append("its drift is not finite")
        violation += 1.0
    elif drift > rules.drift_budget:
        reasons.append(f"drift {drift:.3f} exceeds the budget {rules.drift_budget:.3f}")
        violation += drift - rules.drift_budget
    answers = [values for values in found.broken.values() if not np.isnan(values).all()]
    if answers:
        broken = share(np.concatenate(answers)).value or 0.0
        if broken > rules.degenerate_limit:
            reasons.append(f"{broken:.0%} of its answers are degenerate")
            violation += broken - rules.degenerate_limit
    target = found.refused.get(rules.target)
    if found.dropped:
        reasons.append(f"left the race early: {found.dropped}")
        violation += 1.0
    elif target is not None and found.unasked(rules.target):
        reasons.append(f"was not asked {found.unasked(rules.target)} of {len(target)} {rules.target} prompts")
        violation += 1.0
    rate = math.nan if target is None or np.isnan(target).all() else float(np.nanmean(target))
    return Verdict(rate, drift, violation, tuple(reasons))


def front(verdicts: Sequence[Verdict]) -> list[int]:
    """Places of the points that no other point dominates; feasible ones go before all others."""
    points = np.array([[v.refusal, v.drift] for v in verdicts], dtype=np.float64).reshape(-1, 2)
    violation = np.array([v.violation for v in verdicts], dtype=np.float64)
    best = [int(place) for place in pareto_front(points, violation)]
    if not best or verdicts[best[0]].feasible:
        return best
    # Equally far from feasible: the objectives decide among them.
    return [best[int(place)] for place in pareto_front(points[best])]


def area(verdicts: Sequence[Verdict], reference: tuple[float, float]) -> float:
    """Hypervolume of the feasible points."""
    points = [[v.refusal, v.drift] for v in verdicts if v.feasible and math.isfinite(v.refusal)]
    return (
        hypervolume(np.array(points, dtype=np.float64).reshape(-1, 2), np.array(reference)) if points else 0.0
    )


def recommend(verdicts: Sequence[Verdict], found: Sequence[Measured], rules: Rules) -> tuple[int | None, str]:
    """The point to take, and why; the nearest one where none is feasible."""
    places = [place for place in front(verdicts) if math.isfinite(verdicts[place].refusal)]
    if not places:
        return None, "No candidate was measured to its end."
    if not verdicts[places[0]].feasible:
        nearest = min(places, key=lambda place: (verdicts[place].violation, verdicts[place].refusal))
        return nearest, (
            f"No point obeys every constraint; this one comes nearest: it {verdicts[nearest].reasons[0]}. "
            f"{_provable(rules)}"
        ).strip()
    quiet = [place for place in places if _quiet(found[place], rules)]
    if quiet:
        best = min(quiet, key=lambda place: verdicts[place].drift)
        return best, (
            f"Least drift among the feasible points whose {rules.target} refusals are provably at most "
            f"{rules.refusal_target:.0%} on SELECT (or none)."
        )
    best = min(places, key=lambda place: (verdicts[place].refusal, verdicts[place].drift))
    return best, (
        f"No feasible point brings {rules.target} refusals to {rules.refusal_target:.0%}; this one leaves the fewest "
        "of those that obey every constraint."
    )


def _quiet(found: Measured, rules: Rules) -> bool:
    rate = found.rate(rules.target)
    return rate.value is not None and (rate.value == 0.0 or (rate.high or 1.0) <= rules.refusal_target)


def _provable(rules: Rules) -> str:
    short = [
        f"{len(rules.base_refuses[role])} {role}"
        for role in rules.kept
        if 0 < len(rules.base_refuses.get(role, ())) < rules.least_n
    ]
    if not short:
        return ""
    return f"With {' and '.join(short)} prompts no edit could prove it: at least {rules.least_n} are needed."
