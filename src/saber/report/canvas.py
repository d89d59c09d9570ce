"""What every figure shares: colours, size, axes, legends, and PNG bytes that depend on nothing but the data."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with any colour vision; every pair also differs in shape or shade.
BLUE, SKY, VERMILION, GREY, INK, WASH = "#0072B2", "#9CCBE8", "#D55E00", "#8A8A8A", "#222222", "#F3EBD3"

_DPI = 160


@dataclass(frozen=True)
class Plot:
    """One figure."""

    name: str
    """File name without ending."""
    title: str
    """What it is about."""
    alt: str
    """What it shows, for those who cannot see it."""
    png: bytes
    """The image."""


def log_scale(axes: Axes, side: str, values: Sequence[float]) -> Callable[[float | None], float]:
    """Sets a log scale on side x or y; what is not positive is drawn at half the smallest positive number."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    positive = [value for value in values if value > 0] or [1.0]
    floor = min(positive) / 2
    span = max(positive) / min(positive)
    subs = (1.0, 2.0, 5.0) if span < 20 else (1.0, 3.0) if span < 300 else (1.0,)
    axes.set(**{f"{side}scale": "log"})
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    return lambda value: max(value or 0.0, floor)


def log_limits(values: Sequence[float]) -> tuple[float, float]:
    """Limits of a log axis with room at both ends, also for a single value."""
    positive = [value for value in values if value > 0] or [1.0]
    least = min(positive) / 2 if any(value <= 0 for value in values) else min(positive)
    return least / 1.5, max(positive) * 1.5


def new_figure(height: float) -> Figure:
    """An empty figure, 8 inches wide."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    return Figure(figsize=(8, height), dpi=_DPI, layout=layout, facecolor="white")


def finish(
    figure: Figure, main: Sequence[Axes], title: str, aside: Sequence[Axes] = (), *, legend_columns: int = 3
) -> None:
    """Title, legends above the axes, sizes that stay legible at 800 pixels."""
    figure.suptitle(title, fontsize=14, fontweight="bold", color=INK)
    for axes in (*main, *aside):
        axes.tick_params(labelsize=11)
        if axes in aside:
            axes.tick_params(axis="x", labelsize=9)
        axes.xaxis.label.set_fontsize(12)
        axes.yaxis.label.set_fontsize(12)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x" if axes in aside else "y", color="#DDDDDD", lw=0.8, zorder=0)
        axes.set_axisbelow(True)
        if axes.get_legend_handles_labels()[1]:
            columns = 1 if axes in aside else legend_columns
            axes.legend(
                loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, fontsize=10, frameon=False
            )


def render(name: str, title: str, alt: str, figure: Figure) -> Plot:
    """Renders a figure; no date and no version in the file, so the same run gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return Plot(name, title, alt, buffer.getvalue())
