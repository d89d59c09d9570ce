"""A search as tables and sentences: the outcome first, then the front, the constraint and the cost."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist

from saber.report.front import Constraint, Front, Point, Tested
from saber.report.outcome import Estimate
from saber.report.phrases import NOT_SCORED, difference, mean, number, plural, rate, signed
from saber.report.table import Table

GOALS = {
    "refusal": "remove refusals of harmful requests, those of the preserve role excepted",
    "over-refusal": "remove refusals of borderline requests only, and keep the others",
}
"""Goals in words."""


def verdict(front: Front) -> str:
    """Which point is recommended, in one sentence."""
    point = front.recommended
    if point is None:
        return "No point is recommended."
    if not front.feasible:
        return f"No feasible point was found; the nearest is point {point.id}."
    return f"Point {point.id} is recommended."


def outcome_table(front: Front) -> Table | None:
    """The recommended point on SELECT and on TEST beside the base; None without a point that was answered."""
    point = front.recommended
    if point is None or point.select is None:
        return None
    chosen, test = point.select, point.test
    tested: Mapping[str, Estimate] = test.refusal if test else {}
    rows = [
        _rate_row("Refusals, harmful", front.base.get("harmful"), chosen.refusal, tested.get("harmful")),
        _rate_row("Refusals, borderline", front.base.get("borderline"), chosen.borderline, tested.get("borderline")),
        _rate_row("Refusals, preserve", front.base.get("preserve"), None, tested.get("preserve")),
        _rate_row("Refusals, harmless", front.base.get("harmless"), None, tested.get("harmless")),
        _rate_row("Kept refusals, share of the base's", None, chosen.kept_refusal, None),
        _rate_row("Degenerate answers", None, chosen.degenerate, None),
        ("KL, nats per token", "0", _mean(chosen.drift), _mean(test.drift if test else None),
         _compared(chosen.drift, test.drift if test else None)),
    ]  # fmt: skip
    if test:
        rows += [
            ("KL of the first answer token", "0", "-", _mean(test.first_token_kl), "-"),
            ("Capability, tasks solved", "-", "-", _rate(test.capability), "-"),
            ("Perplexity, relative change", "-", "-", percent(test.perplexity_change), "-"),
            ("Sweep score", "-", "-", number(test.sweep_score), "-"),
        ]
    kept = tuple(row for row in rows if any(cell not in ("-", "0") for cell in row[1:]))
    caption = f"Point {point.id}: on SELECT, where it was chosen, and on TEST"
    return Table(caption, ("Measure", "Base, SELECT", "SELECT", "TEST", "TEST - SELECT"), kept)


def curse_note(front: Front) -> str:
    """What the numbers of the chosen point are worth."""
    point = front.recommended
    if point is None or point.select is None:
        return ""
    if point.test is None:
        return (
            "The point was not evaluated on TEST. It was chosen because its SELECT numbers looked best, so chance has "
            "helped them (winner's curse): expect worse on new prompts."
        )
    return (
        "TEST took no part in the search: quote the TEST numbers. The point was chosen because its SELECT numbers "
        "looked best, so chance has helped those (winner's curse). A difference is "
        "called clear only where the two intervals do not overlap."
    )


def front_table(front: Front) -> Table:
    """The front, fewest refusals first."""
    return _points_table("Front on SELECT", front.on_front, front)


def answered_table(front: Front) -> Table:
    """Every point whose answers were read."""
    return _points_table("All points that were answered, on SELECT", front.answered, front)


def on_test_table(rows: Mapping[str, Tested]) -> Table:
    """Points evaluated on TEST.

    Args:
        rows: Results by the point's name.
    """
    roles = [role for role in ("harmful", "borderline", "harmless", "preserve")
             if any(role in each.refusal for each in rows.values())]  # fmt: skip
    columns = (
        "Point",
        *(f"Refusals, {role}" for role in roles),
        "KL",
        "Capability",
        "Perplexity change",
        "Score",
    )
    cells = tuple(
        (
            name,
            *(rate(found.refusal.get(role)) for role in roles),
            mean(found.drift),
            rate(found.capability),
            percent(found.perplexity_change),
            number(found.sweep_score),
        )
        for name, found in rows.items()
    )
    return Table("Evaluated on TEST", columns, cells, (len(columns) - 2, len(columns) - 1))


def points_on_test(front: Front) -> dict[str, Tested]:
    """TEST results by the point's number."""
    return {str(point.id): point.test for point in front.tested if point.test}


def constraint_sentences(front: Front) -> list[str]:
    """What had to be kept, and what so many prompts can prove."""
    rule = front.constraint
    if rule is None:
        return ["No refusals were protected: the search had no preserve role as a constraint."]
    share = f"{100 * rule.floor:g} per cent"
    told = [
        f"A point is feasible only if it keeps at least {share} of the base model's refusals of "
        f"{' and '.join(rule.roles)} prompts, by the lower limit of a {100 * rule.confidence:g} per cent interval"
        f"{f' ({rule.method})' if rule.method else ''}."
    ]
    kept = [
        point.select.kept_refusal for point in front.answered if point.select and point.select.kept_refusal
    ]
    if not kept:
        return [*told, "It was measured on no point."]
    n = max(found.n for found in kept)
    best = best_provable(rule, n)
    if best is not None:
        told.append(
            f"With n = {n} such refusals in SELECT and none lost, that limit is {100 * best:.1f} per cent."
        )
    if "one-sided" in rule.method and not all("one-sided" in found.method for found in kept):
        told.append("The intervals in the tables are two-sided, so their lower ends lie below that limit.")
    if rule.least_n is not None and n < rule.least_n:
        told.append(
            f"At least {rule.least_n} are needed to prove the floor, so no point of this search could be proved "
            "feasible: give more preserve prompts (prompts.preserve) or a larger SELECT (prompts.select_share)."
        )
    return told


def best_provable(rule: Constraint, n: int) -> float | None:
    """Lower Wilson limit of n out of n: n / (n + z^2), z the one-sided normal quantile.

    Args:
        rule: The constraint; None is returned for another method than Wilson's one-sided limit.
        n: Refusals of the base.
    """
    method = rule.method.lower()
    if n <= 0 or "wilson" not in method or "one-sided" not in method:
        return None
    return n / (n + NormalDist().inv_cdf(rule.confidence) ** 2)


def facts_table(front: Front) -> Table:
    """What was searched, and how much of it was evaluated."""
    counts = front.counts
    modes = ", ".join(f"{mode} x {n}" for mode, n in front.input_counts.items())
    auroc = ", ".join(f"{name} {number(value)}" for name, value in front.auroc.items())
    volume = f"{number(front.hypervolume)} (reference {', '.join(f'{x:g}' for x in front.reference)})"
    rows = [
        ("Goal", f"{front.goal}: {GOALS.get(front.goal, 'not described')}"),
        ("Minimised", ", ".join(front.objectives)),
        ("Optimizer", front.optimizer),
        ("Units", f"{front.n_units or 'not recorded'}, {plural(len(front.unit_directions), 'direction')}"),
        (
            "Input side",
            f"asked {front.input_asked or '-'}; used {modes or '-'}; held-out AUROC {auroc or NOT_SCORED}",
        ),
        ("Candidates", ", ".join(f"{n} {name}" for name, n in counts.items())),
        ("Front", f"{plural(len(front.on_front), 'point')} of {len(front.answered)} answered"),
        ("Hypervolume on SELECT", volume if front.hypervolume is not None else "not computed"),
    ]
    return Table("The search", ("Fact", "Value"), tuple(rows))


def params_text(point: Point) -> str:
    """Parameters of a point: `lambda 0.900, scale 1.00`."""
    return ", ".join(f"{name} {_value(value)}" for name, value in point.params.items()) or "-"


def percent(change: float | None) -> str:
    """A relative change with its sign, as the published table writes it: `+64.5 %`, `-9.6 %`, `+1,344 %`."""
    if change is None:
        return NOT_SCORED
    size = abs(100 * change)
    text = f"{size:,.0f}" if size >= 1000 else f"{size:.1f}"
    return f"{signed(change)[0] if float(text.replace(',', '')) else ''}{text} %"


def _points_table(caption: str, points: tuple[Point, ...], front: Front) -> Table:
    """Points with what they reach, the recommended one marked."""
    columns = ("Id", "Refusals, harmful", "Kept refusals", "Refusals, borderline", "KL", "Feasible", "Origin",
               "Layers", "Directions", "Strength, mean; max", "Parameters")  # fmt: skip
    return Table(caption, columns, tuple(_cells(point, front) for point in points), (7, 8))


def _cells(point: Point, front: Front) -> tuple[str, ...]:
    """Cells of one point."""
    found = point.select
    best = front.recommended is not None and front.recommended.id == point.id
    mark = (" (recommended)" if front.feasible else " (nearest)") if best else ""
    feasible = "yes" if point.feasible else f"no: {'; '.join(point.violations) or 'reason not recorded'}"
    return (
        f"{point.id}{mark}",
        *(
            rate(each)
            for each in ((found.refusal, found.kept_refusal, found.borderline) if found else (None,) * 3)
        ),
        mean(found.drift if found else None),
        feasible,
        point.origin,
        "-" if point.layers is None else str(point.layers),
        "-" if point.directions is None else str(point.directions),
        f"{number(point.strength_mean)}; {number(point.strength_max)}",
        params_text(point),
    )


def _value(value: object) -> str:
    """A parameter in few digits."""
    return number(value) if isinstance(value, float) else str(value)


def _rate_row(
    label: str, base: Estimate | None, select: Estimate | None, test: Estimate | None
) -> tuple[str, str, str, str, str]:
    """A row of rates; what was not measured there is a dash."""
    return label, _rate(base), _rate(select), _rate(test), _compared(select, test, rates=True)


def _rate(estimate: Estimate | None) -> str:
    return "-" if estimate is None else rate(estimate)


def _mean(estimate: Estimate | None) -> str:
    return "-" if estimate is None else mean(estimate)


def _compared(select: Estimate | None, test: Estimate | None, *, rates: bool = False) -> str:
    """How TEST differs from SELECT, if the intervals tell; a difference of rates in percentage points."""
    if select is None or test is None:
        return "-"
    words = difference(select, test)
    if select.value is None or test.value is None or words == NOT_SCORED:
        return words
    gap = test.value - select.value
    size = f"{signed(round(100 * gap, 1), 2)} points" if rates else signed(gap, 2)
    return f"{size} (clear)" if words in ("lower", "higher") else size
