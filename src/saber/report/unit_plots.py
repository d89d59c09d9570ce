"""Figures of the functional units and of the path of strengths."""

from __future__ import annotations

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
from saber.report.labels import place_labels
from saber.report.path import StrengthPath, prediction_sentence
from saber.report.phrases import mean, plural
from saber.report.units import MEASURES, Damage, Unit, Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELLED = 6
"""Units that are named."""


def unit_figures(units: Units | None, path: StrengthPath | None) -> tuple[Plot, ...]:
    """The figures that there is something to show for."""
    plots = []
    if units is not None and units.rows:
        plots.append(units_plot(units))
        if units.damage is not None and units.damage.kl:
            plots.append(damage_plot(units, units.damage))
    if path is not None:
        plots.append(path_plot(path))
    return tuple(plots)


def units_plot(units: Units) -> Plot:
    """What a unit does to refusals (b) against what it does to everything else (sqrt F); colour, size: strength."""
    rows = [row for row in units.rows if row.sqrt_f is not None]
    figure = new_figure(5.0)
    axes = figure.subplots()
    positive = log_scale(axes, "x", [row.sqrt_f or 0.0 for row in rows])
    idle = [row for row in rows if not row.strength]
    used = sorted((row for row in rows if row.strength), key=lambda row: row.strength or 0.0)
    axes.plot([positive(row.sqrt_f) for row in idle], [row.pull for row in idle], "o", mec=GREY, mfc="none", ms=5,
              label=f"strength 0 ({len(idle)})", zorder=2)  # fmt: skip
    drawn = axes.scatter(
        [positive(row.sqrt_f) for row in used], [row.pull for row in used],
        c=[row.strength or 0.0 for row in used], s=[30 + 110 * (row.strength or 0.0) for row in used],
        cmap="viridis_r", vmin=0.0, vmax=max([1.0, *(row.strength or 0.0 for row in used)]),
        edgecolors="white", linewidths=0.8, label=f"used ({len(used)}; colour and size: strength)", zorder=3,
    )  # fmt: skip
    if used:
        figure.colorbar(drawn, ax=axes, label="Strength", pad=0.02)
    axes.axhline(0, color=INK, lw=1.0)
    axes.set_xlim(log_limits([row.sqrt_f or 0.0 for row in rows]))
    axes.margins(y=0.1)
    axes.set_xlabel("sqrt(F): effect on capability and harmless answers (log scale)")
    axes.set_ylabel("b: fall of the refusal log-odds\n(nats per unit of strength)")
    finish(figure, [axes], "Units: effect on refusals against effect on the rest")
    named = used[::-1][:_LABELLED]
    place_labels(
        axes,
        [(positive(row.sqrt_f), row.pull, f"{row.short} {row.direction}") for row in named],
        [(positive(row.sqrt_f), row.pull) for row in rows],
    )
    alt = f"Scatter plot of {plural(len(rows), 'unit')}, b against sqrt(F); {len(used)} have a strength above 0."
    return render("units", "Effect of each unit on refusals and on everything else", alt, figure)


def damage_plot(units: Units, damage: Damage) -> Plot:
    """KL measured with one unit ablated alone, against each measure that claims to predict it."""
    rows = [row for row in units.rows if row.name in damage.kl]
    names = [name for name in damage.spearman if name in MEASURES]
    figure = new_figure(5.6)
    panels = figure.subplots(2, 2, sharey=True).flat
    for axes, name in zip(panels, names, strict=False):
        _draw_measure(axes, rows, damage, name)
    for axes in list(panels)[len(names) :]:
        axes.set_visible(False)
    figure.supylabel("KL with this unit alone ablated (nats per token)", fontsize=12)
    finish(figure, [axes for axes in figure.axes if axes.get_visible()], "Which measure predicts damage?")
    words = "; ".join(f"{name}: {mean(damage.spearman[name])}" for name in names)
    alt = f"Scatter plots of the KL of {plural(len(rows), 'unit')} against each measure. Spearman, {words}."
    return render("damage", "Measured damage against each measure of entanglement", alt, figure)


def path_plot(path: StrengthPath) -> Plot:
    """Left: predicted against measured KL. Right: the predicted Pareto curve with the measured points."""
    figure = new_figure(4.6)
    left, right = figure.subplots(1, 2)
    _draw_agreement(left, path)
    _draw_curve(right, path)
    finish(
        figure, [left, right], "What the quadratic model predicts, and what was measured", legend_columns=2
    )
    alt = (
        f"Left: measured against predicted KL of {plural(len(path.measured), 'step')}, with the identity line. Right: "
        f"refusal log-odds against KL, predicted and measured. {prediction_sentence(path)}"
    )
    return render("path", "Predicted and measured, along the path of strengths", alt, figure)


def _draw_measure(axes: Axes, rows: list[Unit], damage: Damage, name: str) -> None:
    """KL against one measure."""
    pairs = [(getattr(row, MEASURES[name]), damage.kl[row.name]) for row in rows]
    known = [(value, kl) for value, kl in pairs if value is not None]
    positive = log_scale(axes, "y", list(damage.kl.values()))
    axes.set_ylim(log_limits(list(damage.kl.values())))
    axes.plot(
        [value for value, _ in known], [positive(kl) for _, kl in known], "o", color=BLUE, ms=5, alpha=0.8
    )
    found = damage.spearman[name]
    text = "not computed" if found.value is None else f"{found.value:.2f}"
    if found.span is not None:
        text += f" [{found.span[1]:.2f}, {found.span[2]:.2f}]"
    axes.set_title(f"Spearman {text}", fontsize=11)
    axes.set_xlabel(name)


def _draw_agreement(axes: Axes, path: StrengthPath) -> None:
    """Measured against predicted KL on log axes, with the line on which they agree."""
    pairs = [(step.predicted_drift or 0.0, step.measured_drift or 0.0) for step in path.measured]
    ends = [value for pair in pairs for value in pair if value > 0] or [0.1, 1.0]
    positive = log_scale(axes, "x", ends)
    log_scale(axes, "y", ends)
    span = log_limits([value for pair in pairs for value in pair] or ends)
    axes.plot(span, span, color=INK, ls="--", lw=1.2, label="equal", zorder=2)
    axes.plot([positive(x) for x, _ in pairs], [positive(y) for _, y in pairs], "o", color=BLUE, ms=7,
              label="step of the path" if pairs else "_nothing", zorder=3)  # fmt: skip
    axes.set_xlim(span)
    axes.set_ylim(span)
    axes.set_xlabel("KL predicted (nats per token)")
    axes.set_ylabel("KL measured")
    if not pairs:
        axes.text(0.5, 0.5, "no step measured", ha="center", transform=axes.transAxes, color=INK)


def _draw_curve(axes: Axes, path: StrengthPath) -> None:
    """Refusal log-odds against KL: the predicted curve, and the points that were measured."""
    expected = [
        (step.predicted_drift, step.predicted_log_odds)
        for step in path.steps
        if step.predicted_drift is not None and step.predicted_log_odds is not None
    ]
    found = [
        (step.measured_drift, step.measured_log_odds)
        for step in path.steps
        if step.measured_drift is not None and step.measured_log_odds is not None
    ]
    drifts = [kl for kl, _ in expected + found]
    positive = log_scale(axes, "x", drifts)
    axes.set_xlim(log_limits(drifts))
    axes.plot(
        [positive(x) for x, _ in expected],
        [y for _, y in expected],
        "-",
        color=SKY,
        lw=2.4,
        label="predicted",
    )
    axes.plot([positive(x) for x, _ in found], [y for _, y in found], "D", color=VERMILION, ms=6,
              label="measured" if found else "_nothing", zorder=3)  # fmt: skip
    axes.axhline(0, color=GREY, lw=1.0, ls=":")
    axes.set_xlabel("KL (nats per token, log scale)")
    axes.set_ylabel("Refusal log-odds (nats)")
