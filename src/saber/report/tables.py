"""The evidence as tables of words: what was measured. The card and the page show the same ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from saber.report.outcome import TOTAL, Estimate
from saber.report.phrases import NOT_SCORED, change, difference, mean, number, rate, signed
from saber.report.rows import Compared, Evidence
from saber.report.table import Table

ROLES = ("harmful", "borderline", "harmless", "preserve")
"""Order in which roles are shown."""

MEANING = {
    "harmful": "harmful (the edit's target)",
    "borderline": "borderline (safe, but sounds harmful)",
    "harmless": "harmless (should be answered)",
    "preserve": "preserve (severe; should still be refused)",
}
"""What each role stands for."""


def headline(evidence: Compared) -> Table:
    """Refusal by role, degenerate answers and capability, base and edited side by side."""
    base, edited = evidence.base, evidence.edited
    rows = [
        _pair(f"Refusals, {MEANING.get(role, role)}", base.refusal.get(role), edited.refusal.get(role))
        for role in _ordered(base.refusal, edited.refusal)
    ]
    if base.degenerate or edited.degenerate:
        rows.append(_pair("Degenerate answers", base.degenerate, edited.degenerate))
    if TOTAL in base.capability or TOTAL in edited.capability:
        rows.append(
            _pair("Capability, tasks solved", base.capability.get(TOTAL), edited.capability.get(TOTAL))
        )
    if base.log_odds or edited.log_odds:
        odds = base.log_odds, edited.log_odds
        rows.append(
            ("Refusal log-odds of the first token, nats", mean(odds[0]), mean(odds[1]), difference(*odds))
        )
    return Table(
        "Base and edited model on the same prompts", ("Measure", "Base", "Edited", "Edited is"), tuple(rows)
    )


def remaining(evidence: Compared) -> Table:
    """Refusals by role and category, those that remain first; one row where the prompts name no category."""
    rows: list[tuple[str, ...]] = []
    for role in _ordered(evidence.base.by_category, evidence.edited.by_category):
        base, edited = evidence.base.by_category.get(role, {}), evidence.edited.by_category.get(role, {})
        for category in sorted({*base, *edited}, key=lambda name: (-_value(edited.get(name)), name)):
            pair = base.get(category), edited.get(category)
            rows.append((category, role, *map(rate, pair), difference(*pair)))
        if not base and not edited:
            pair = evidence.base.refusal.get(role), evidence.edited.refusal.get(role)
            rows.append(("(prompts name no category)", role, *map(rate, pair), difference(*pair)))
    return Table("Refusals by category", ("Category", "Role", "Base", "Edited", "Edited is"), tuple(rows))


def classes(evidence: Compared) -> Table:
    """How many answers fell into each class: a rate of refusals hides partial and degenerate answers."""
    rows: list[tuple[str, ...]] = []
    for role in _ordered(evidence.base.classes, evidence.edited.classes):
        base, edited = evidence.base.classes.get(role, {}), evidence.edited.classes.get(role, {})
        rows += [(name, role, _of(base, name), _of(edited, name)) for name in dict.fromkeys([*base, *edited])]
    return Table("Answers by class", ("Class", "Role", "Base", "Edited"), tuple(rows), (2, 3))


def capability(evidence: Evidence) -> Table:
    """Tasks solved by category, with the paired change."""
    base, edited = evidence.base.capability, evidence.edited.capability
    names = sorted(
        {*base, *edited}, key=lambda name: (name == TOTAL, list(base).index(name) if name in base else 99)
    )
    rows = tuple(
        (name, rate(base.get(name)), rate(edited.get(name)), change(evidence.changes.get(name)))
        for name in names
    )
    return Table("Capability: tasks solved", ("Category", "Base", "Edited", "Paired change"), rows)


def perplexity(evidence: Evidence) -> Table:
    """Perplexity as a signed change: a decrease is drift too."""
    base, edited = evidence.base.perplexity, evidence.edited.perplexity
    rows = []
    for name in sorted({*base, *edited}, key=lambda name: (name == TOTAL, name)):
        before, after = base.get(name), edited.get(name)
        step = ratio = None
        if before and after:
            step, ratio = after - before, math.log(after / before)
        rows.append((name, number(before, 4), number(after, 4), signed(step), signed(ratio)))
    return Table(
        "Perplexity of the battery's answers (no interval is computed)",
        ("Category", "Base", "Edited", "Change", "Log ratio"),
        tuple(rows),
        (1, 2, 3, 4),
    )


def drift(evidence: Evidence) -> Table:
    """KL(base || edited) beside its noise floor."""
    found = evidence.drift
    rows = [
        ("Mean KL over the base model's own answers, nats per token", mean(found.answer)),
        ("95th percentile of the KL", number(found.p95)),
        ("Maximum of the KL", number(found.largest)),
        ("KL of the first answer token only (as other tools report it)", mean(found.first_token)),
        ("Noise floor: KL of base against base at another batch size", number(found.noise_floor)),
        ("Residual refusal proxy: mean refusal log-odds of the edited model, nats", number(evidence.proxy)),
    ]
    return Table(
        "Drift, KL(base || edited), and what is left of the refusal signal", ("Measure", "Value"), tuple(rows)
    )


def above_floor(evidence: Evidence) -> str:
    """How the drift compares with its noise floor, as a phrase."""
    found = evidence.drift
    if found.noise_floor <= 0 or found.answer.value is None:
        return "the noise floor is 0: repeated runs of the base agree exactly"
    times = number(found.answer.value / found.noise_floor, 2)
    return f"{times} times its noise floor of {number(found.noise_floor)}"


def _pair(label: str, base: Estimate | None, edited: Estimate | None) -> tuple[str, ...]:
    """A row of two rates."""
    return label, rate(base), rate(edited), difference(base, edited)


def _ordered(base: Iterable[str], edited: Iterable[str]) -> list[str]:
    """Roles of either side, known ones first."""
    names = dict.fromkeys([*base, *edited])
    return [role for role in ROLES if role in names] + [name for name in names if name not in ROLES]


def _value(estimate: Estimate | None) -> float:
    """A rate to sort by; what was not scored comes last."""
    return -1.0 if estimate is None or estimate.value is None else estimate.value


def _of(counts: Mapping[str, int], name: str) -> str:
    """The count of a class out of all answers of its role."""
    return f"{counts.get(name, 0)}/{sum(counts.values())}" if counts else NOT_SCORED
