"""The figure of a sweep: refusal against KL, one point a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saber.report.canvas import BLUE, GREY, INK, Plot, finish, log_limits, log_scale, new_figure, render
from saber.report.labels import place_labels
from saber.report.phrases import plural, rate
from saber.report.sweep import TITLES, Row, Sweep, setting_text, sweep_verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELLED = 12
"""Configurations that are named."""


def sweep_plot(sweep: Sweep) -> Plot:
    """Refusals against KL, with intervals; the Pareto rows joined, the best score ringed."""
    rows = [row for row in sweep.measured if _at(row) is not None]
    figure = new_figure(5.0)
    axes = figure.subplots()
    positive = log_scale(axes, "x", [_drift(row) for row in rows])
    if sweep.refusal is not None and sweep.refusal.value is not None:
        axes.axhline(100 * sweep.refusal.value, color=INK, ls="--", lw=1.2, label="base model (KL 0)")
    line = sorted((positive(_drift(row)), _at(row) or 0.0) for row in rows if row.pareto)
    axes.step([x for x, _ in line], [y for _, y in line], where="post", color=BLUE, lw=1.8, zorder=2)
    for label, colour, filled, belongs in (("dominated", GREY, False, False), ("Pareto", BLUE, True, True)):
        group = [row for row in rows if row.pareto is belongs]
        for row in group:
            _whiskers(axes, row, positive(_drift(row)), colour)
        axes.plot([positive(_drift(row)) for row in group], [_at(row) or 0.0 for row in group], "o", mec=colour,
                  mfc=colour if filled else "white", ls="none", ms=7, label=label if group else "_none",
                  zorder=4)  # fmt: skip
    for row in rows:
        if row.id == sweep.best:
            axes.plot(positive(_drift(row)), _at(row) or 0.0, "o", mec=INK, mfc="none", ms=16, mew=2.2, ls="none",
                      label="lowest sweep score", zorder=5)  # fmt: skip
    if not rows:
        axes.text(0.5, 0.5, "no configuration was measured", ha="center", transform=axes.transAxes, color=INK)
    axes.set_xlim(log_limits([_drift(row) for row in rows]))
    axes.set_ylim(-12, 108)
    names = ", ".join(TITLES.get(key, key) for key in sweep.grid)
    axes.set_xlabel(f"KL(base || edited), nats per token (log scale)\nLabels: {names}")
    axes.set_ylabel("Refusals, harmful (%)")
    finish(figure, [axes], "Refusals against drift, by configuration")
    named = sorted(rows, key=lambda row: (row.id != sweep.best, not row.pareto, _drift(row)))[:_LABELLED]
    place_labels(
        axes,
        [(positive(_drift(row)), _at(row) or 0.0, _label(row, sweep)) for row in named],
        [(positive(_drift(row)), _at(row) or 0.0) for row in rows],
    )
    alt = (
        f"Refusals against KL of {plural(len(rows), 'configuration')}, {len(sweep.pareto)} on the Pareto front. "
        f"Base: {rate(sweep.refusal)}. {sweep_verdict(sweep)}"
    )
    return render("sweep", "Refusals and drift by configuration", alt, figure)


def _label(row: Row, sweep: Sweep) -> str:
    """Values of the settings, in the grid's order."""
    return ", ".join(setting_text(row.settings.get(key)) for key in sweep.grid)


def _drift(row: Row) -> float:
    """KL, 0 where it was not measured."""
    return row.drift.value or 0.0 if row.drift else 0.0


def _at(row: Row) -> float | None:
    """Refusals in per cent; None without refusals or KL."""
    if row.refusal is None or row.refusal.value is None or row.drift is None or row.drift.value is None:
        return None
    return 100 * row.refusal.value


def _whiskers(axes: Axes, row: Row, x: float, colour: str) -> None:
    """Interval of the refusal rate."""
    if row.refusal is not None and row.refusal.span is not None:
        value, low, high = (100 * each for each in row.refusal.span)
        axes.errorbar(x, value, yerr=[[value - low], [high - value]], color=colour, alpha=0.4, capsize=3, lw=1.2,
                      zorder=2)  # fmt: skip
