"""What a sweep measured: sweep.json, typed, and as the table that published SABER's card shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from saber.report.front import Tested, read_tested
from saber.report.front_tables import percent
from saber.report.outcome import Estimate, maybe_estimate
from saber.report.phrases import mean, number, rate
from saber.report.record import Record
from saber.report.table import Table

UNFINISHED = "Finish the sweep (`saber sweep MODEL --out DIR --resume`), then `saber report DIR`."
"""The hint for evidence that a finished sweep would hold."""

TITLES = {"spectrum.global_top_k": "Top-K", "ablation.alpha_base": "Alpha"}
"""Settings as the published table calls them; any other setting is called by its key."""


@dataclass(frozen=True)
class Row:
    """One configuration, measured on SELECT."""

    id: str
    settings: Mapping[str, object]
    refusal: Estimate | None
    """Refusals of harmful prompts."""
    perplexity: float | None
    """Of the battery's answers."""
    perplexity_change: float | None
    """Relative and signed, against the base."""
    layers: int | None
    directions: int | None
    drift: Estimate | None
    """KL, nats per token."""
    sweep_score: float | None
    """refusal + 0.12 ln(1 + KLD) + 0.08 max(0, refusal - (1 - normalised residual)): lower is better."""
    pareto: bool
    error: str
    """Why there are no numbers; empty where there are."""
    test: Tested | None


@dataclass(frozen=True)
class Sweep:
    """A whole sweep."""

    grid: Mapping[str, tuple[str, ...]]
    """Values of each setting."""
    refusal: Estimate | None
    """The base model's refusals on SELECT."""
    perplexity: float | None
    """The base model's perplexity."""
    rows: tuple[Row, ...]
    best: str
    """Id of the row with the lowest sweep score; empty if there is none."""

    @property
    def measured(self) -> tuple[Row, ...]:
        """Rows with numbers."""
        return tuple(row for row in self.rows if not row.error)

    @property
    def failed(self) -> tuple[Row, ...]:
        """Rows without."""
        return tuple(row for row in self.rows if row.error)

    @property
    def pareto(self) -> tuple[Row, ...]:
        """Rows that no other one beats in both refusals and KL."""
        return tuple(row for row in self.measured if row.pareto)


def read_sweep(record: Record) -> Sweep:
    """Reads sweep.json.

    Raises:
        ReportError: A part is missing.
    """
    grid, base = record.section("grid"), record.section("base")
    return Sweep(
        grid={key: grid.texts(key) for key in grid},
        refusal=maybe_estimate(base, "refusal"),
        perplexity=base.maybe_number("perplexity"),
        rows=tuple(_read_row(item) for item in record.sections("rows")),
        best=record.maybe_text("best"),
    )


def sweep_table(sweep: Sweep) -> Table:
    """The published table's columns in their order, then KL, sweep score and Pareto mark."""
    keys = tuple(sweep.grid)
    columns = (*(TITLES.get(key, key) for key in keys), "Refusal", "PPL", "PPL Delta", "Layers", "Dirs Ablated",
               "KL", "Score", "Pareto")  # fmt: skip
    rows = [
        (*("base" if key == keys[0] else "-" for key in keys), rate(sweep.refusal), perplexity(sweep.perplexity),
         "-", "0", "0", "0", "-", "-"),
        *(_cells(row, sweep) for row in sweep.rows),
    ]  # fmt: skip
    first = len(keys)
    numeric = (*range(1, first), *(first + i for i in (1, 2, 3, 4, 6)))
    return Table("Configurations, measured on SELECT", columns, tuple(rows), numeric)


def failed_table(sweep: Sweep) -> Table:
    """Configurations without numbers, and why."""
    rows = tuple((row.id, name_of(row), row.error) for row in sweep.failed)
    return Table("Configurations that failed", ("Id", "Settings", "Reason"), rows)


def rows_on_test(sweep: Sweep) -> dict[str, Tested]:
    """TEST results by configuration."""
    return {name_of(row): row.test for row in sweep.measured if row.test}


def sweep_verdict(sweep: Sweep) -> str:
    """The best configuration in one sentence, without more praise than it earned."""
    best = next((row for row in sweep.measured if row.id == sweep.best), None)
    if best is None:
        return (
            "No configuration could be measured." if not sweep.measured else "No configuration is named best."
        )
    return (
        f"Lowest sweep score on SELECT: {name_of(best)}. It refuses {rate(best.refusal)} at KL {mean(best.drift)}; "
        f"perplexity {perplexity(best.perplexity)} ({percent(best.perplexity_change)})."
    )


def name_of(row: Row) -> str:
    """`Top-K 10, Alpha 0.85`."""
    return (
        ", ".join(f"{TITLES.get(key, key)} {setting_text(value)}" for key, value in row.settings.items())
        or row.id
    )


def perplexity(value: float | None) -> str:
    """A perplexity as the published table writes it: `450`, `1,423`; small ones with three digits."""
    return f"{value:,.0f}" if value is not None and value >= 100 else number(value)


def _cells(row: Row, sweep: Sweep) -> tuple[str, ...]:
    """Cells of one configuration."""
    settings = (setting_text(row.settings.get(key)) for key in sweep.grid)
    if row.error:
        return (*settings, "failed", *("-" for _ in range(7)))
    marks = [name for name, given in (("yes", row.pareto), ("best", row.id == sweep.best)) if given]
    return (
        *settings,
        rate(row.refusal),
        perplexity(row.perplexity),
        percent(row.perplexity_change),
        *("-" if count is None else str(count) for count in (row.layers, row.directions)),
        mean(row.drift),
        number(row.sweep_score),
        ", ".join(marks) or "-",
    )


def setting_text(value: object) -> str:
    """A value of a setting: strengths with two digits as published, all else as it is."""
    return (
        "-"
        if value is None
        else f"{value:.2f}"
        if isinstance(value, float) and value == round(value, 2)
        else str(value)
    )


def _read_row(item: Record) -> Row:
    """Reads one configuration."""
    layers, directions = item.maybe_number("layers"), item.maybe_number("directions")
    return Row(
        id=item.text("id"),
        settings=dict(item.section("settings").data),
        refusal=maybe_estimate(item, "refusal"),
        perplexity=item.maybe_number("perplexity"),
        perplexity_change=item.maybe_number("perplexity_change"),
        layers=None if layers is None else int(layers),
        directions=None if directions is None else int(directions),
        drift=maybe_estimate(item, "drift"),
        sweep_score=item.maybe_number("sweep_score"),
        pareto=item.data.get("pareto") is True,
        error=item.maybe_text("error"),
        test=read_tested(item),
    )
