"""The figure of a search: every candidate by drift, with refusals above and the cheap signal below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saber.report.canvas import (
    BLUE,
    GREY,
    INK,
    SKY,
    VERMILION,
    Plot,
    finish,
    log_limits,
    log_scale,
    new_figure,
    render,
)
from saber.report.front import Front, Point
from saber.report.front_tables import verdict
from saber.report.labels import place_labels
from saber.report.phrases import plural, rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    Scale = Callable[[float | None], float]

_LABELLED = 8
"""Points of the front that are named."""


def front_plot(front: Front) -> Plot:
    """Refusal rate against KL of the answered points, and refusal log-odds against KL of all."""
    figure = new_figure(7.2)
    top, low = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2)})
    drifts = [point.drift for point in front.points if point.drift is not None]
    positive = log_scale(low, "x", drifts)  # for both: they share the axis
    _draw_rates(top, front, positive)
    _draw_signal(low, front, positive)
    low.set_xlim(log_limits(drifts))
    finish(figure, [top, low], "What the search found on SELECT")
    front_rows = [(point, value) for point in front.on_front if (value := _value(point, front)) is not None]
    place_labels(
        top,
        [(positive(point.drift), value, str(point.id)) for point, value in _named(front_rows, front)],
        [(positive(point.drift), value) for point, value in _valued(front.answered, front)],
        left=True,
    )
    answered = plural(len(front.answered), "answered candidate")
    alt = (
        f"Refusals of {front.role} prompts against KL for {answered}, {len(front.on_front)} on the front; below, "
        f"refusal log-odds of {len(front.screened)} more that were screened only. Base: "
        f"{rate(front.base.get(front.role))}. {verdict(front)}"
    )
    return render("front", "The front of the search", alt, figure)


def _draw_rates(axes: Axes, front: Front, positive: Scale) -> None:
    """Answered points by the refusal rate that the search minimises."""
    base = front.base.get(front.role)
    if base is not None and base.value is not None:
        axes.axhline(100 * base.value, color=INK, ls="--", lw=1.2, label="base model (KL 0)")
    line = sorted((positive(p.drift), value) for p, value in _valued(front.on_front, front))
    axes.step([x for x, _ in line], [y for _, y in line], where="post", color=BLUE, lw=1.8,
              label="front" if line else "_nothing", zorder=2)  # fmt: skip
    for point, value in _valued(front.on_front, front):
        _whiskers(axes, point, front, positive(point.drift), value)
    for label, marker, colour, filled, points in _groups(front):
        rows = _valued(points, front)
        axes.plot([positive(point.drift) for point, _ in rows], [value for _, value in rows], marker, color=colour,
                  mec=colour, mfc=colour if filled else "white", ms=8 if filled else 6,
                  label=label if rows else "_nothing", zorder=4)  # fmt: skip
    best = front.recommended
    at = _value(best, front) if best else None
    if best is not None and at is not None:
        axes.plot(positive(best.drift), at, "o", mec=INK, mfc="none", ms=17, mew=2.2, ls="none",
                  label="recommended" if front.feasible else "nearest to feasible", zorder=5)  # fmt: skip
    if not front.answered:
        axes.text(0.5, 0.5, "no candidate was answered", ha="center", transform=axes.transAxes, color=INK)
    axes.set_ylim(-5, 108)
    axes.set_ylabel(f"Refusals, {front.role} (%)")


def _draw_signal(axes: Axes, front: Front, positive: Scale) -> None:
    """All points by their refusal log-odds; most were never answered."""
    if front.base_log_odds is not None:
        axes.axhline(front.base_log_odds, color=INK, ls="--", lw=1.2, label="_base")
    screened = [("screened only", ".", SKY, True, front.screened)]
    for label, marker, colour, filled, points in screened + _groups(front):
        rows = [point for point in points if point.log_odds is not None and point.drift is not None]
        faint = label == "screened only"
        axes.plot([positive(point.drift) for point in rows], [point.log_odds or 0.0 for point in rows], marker,
                  color=colour, mec=colour, mfc=colour if filled else "white", ms=7 if faint else 6,
                  ls="none", alpha=0.8 if faint else 1.0, label=label if faint and rows else "_again",
                  zorder=2 if faint else 3)  # fmt: skip
    best = front.recommended
    if best is not None and best.log_odds is not None and best.drift is not None:
        axes.plot(positive(best.drift), best.log_odds, "o", mec=INK, mfc="none", ms=14, mew=2.0, zorder=5)
    axes.axhline(0, color=GREY, lw=1.0, ls=":")
    axes.margins(y=0.15)
    axes.set_xlabel("KL(base || edited), nats per token (log scale)")
    axes.set_ylabel("Refusal log-odds\n(nats)")


def _groups(front: Front) -> list[tuple[str, str, str, bool, Sequence[Point]]]:
    """Answered points by what became of them: label, marker, colour, filled, points."""
    others = [point for point in front.answered if not point.on_front]
    return [
        ("infeasible", "X", VERMILION, False, [point for point in front.answered if not point.feasible]),
        ("dominated", "o", GREY, False, [point for point in others if point.feasible]),
        ("on the front", "o", BLUE, True, [point for point in front.on_front if point.feasible]),
    ]


def _whiskers(axes: Axes, point: Point, front: Front, x: float, y: float) -> None:
    """Interval of the refusal rate of one point."""
    found = point.aim(front.role)
    if found is not None and found.span is not None:
        _, low, high = found.span
        axes.errorbar(x, y, yerr=[[y - 100 * low], [100 * high - y]], color=BLUE, alpha=0.45, capsize=3, lw=1.2,
                      zorder=2)  # fmt: skip


def _valued(points: Sequence[Point], front: Front) -> list[tuple[Point, float]]:
    """Points that have both coordinates, with their refusals in per cent."""
    rows = [(point, _value(point, front)) for point in points if point.drift is not None]
    return [(point, value) for point, value in rows if value is not None]


def _value(point: Point, front: Front) -> float | None:
    """Refusals in per cent."""
    found = point.aim(front.role)
    return None if found is None or found.value is None else 100 * found.value


def _named(rows: list[tuple[Point, float]], front: Front) -> list[tuple[Point, float]]:
    """The front's points that get their number written, the recommended one first."""
    best = front.recommended.id if front.recommended else None
    return sorted(rows, key=lambda row: row[0].id != best)[:_LABELLED]
