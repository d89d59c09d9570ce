"""Units of functional entanglement, and how well each measure of entanglement predicts damage: typed and in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from saber.report.outcome import Estimate, read_estimate
from saber.report.phrases import mean, number, plural
from saber.report.record import Record
from saber.report.table import Table

SHOWN = 24
"""Rows of the table of units."""

MEASURES = {
    "functional sqrt(F)": "sqrt_f",
    "geometric rho": "rho",
    "1 - variance purity": "variance_rho",
    "fdr": "fdr",
}
"""Names of the measures in `damage.spearman`, and the attribute of a unit that holds each."""


@dataclass(frozen=True)
class Unit:
    """One direction in one writer: what its removal is predicted to do to refusals and to everything else."""

    name: str
    """Module and direction, unique in the run."""
    module: str
    """The module that writes."""
    direction: str
    """Name of the direction, such as "L5.0"."""
    index: int
    """Pass that found it, 0-based."""
    input_mode: str
    """Solution on the input side: M0 to M3."""
    fdr: float | None
    """Cross-fitted Fisher discriminant ratio."""
    rho: float | None
    """Geometric entanglement."""
    variance_rho: float | None
    """1 - variance purity."""
    b: Mapping[str, float]
    """Fall of the refusal log-odds per unit of strength, by role, nats."""
    sqrt_f: float | None
    """Square root of its diagonal entry of the Fisher matrix."""
    purity: float | None
    """b+ / (b+ + lam sqrt(F))."""
    strength: float | None
    """Strength in the plan."""

    @property
    def short(self) -> str:
        """`3.mlp.down_proj` of `model.layers.3.mlp.down_proj`."""
        return re.sub(r"^\D*\.(?=\d+\.)", "", self.module)

    @property
    def pull(self) -> float:
        """Its b on harmful prompts; 0 where it was not measured."""
        return self.b.get("harmful", 0.0)


@dataclass(frozen=True)
class Damage:
    """KL measured when one unit alone is ablated, against each measure of entanglement."""

    n: int
    """Units that were ablated alone."""
    strength: float
    """Their strength."""
    kl: Mapping[str, float]
    """Measured KL by unit, nats per token."""
    spearman: Mapping[str, Estimate]
    """Rank correlation with the KL, by measure."""


@dataclass(frozen=True)
class Units:
    """All units of a run, the strongest pull on refusals first."""

    rows: tuple[Unit, ...]
    damage: Damage | None


def read_units(entanglement: Record) -> Units | None:
    """Reads `units` and `damage` of entanglement.json; None where entanglement was not measured per unit."""
    if "units" not in entanglement:
        return None
    rows = sorted(map(_read_unit, entanglement.sections("units")), key=lambda row: (-abs(row.pull), row.name))
    damage = _read_damage(entanglement.section("damage")) if "damage" in entanglement else None
    return Units(tuple(rows), damage)


def units_table(units: Units) -> Table:
    """The units with the largest effect on refusals."""
    shown = units.rows[:SHOWN]
    columns = ("Writer", "Direction", "Pass", "b harmful", "b borderline", "b preserve", "sqrt(F)", "Purity", "FDR",
               "Rho", "1 - var. purity", "Input", "Strength")  # fmt: skip
    caption = f"Units with the largest |b|, {len(shown)} of {len(units.rows)}"
    return Table(caption, columns, tuple(map(_cells, shown)), (2, 3, 4, 5, 6, 7, 8, 9, 10, 12))


def units_sentence(units: Units) -> str:
    """How many units there are, how many are used, and where the others stand."""
    used = sum((row.strength or 0.0) > 0 for row in units.rows)
    left = len(units.rows) - SHOWN
    more = f" The table shows {SHOWN}; {left} more are in entanglement.json." if left > 0 else ""
    return f"{plural(len(units.rows), 'unit')}, {used} with a strength above 0.{more}"


def damage_table(damage: Damage) -> Table:
    """Rank correlation of each measure with the measured KL, best first."""
    rows = tuple((name, mean(found), _verdict(found)) for name, found in _ranked(damage))
    return Table(
        "How well each measure predicts damage", ("Measure", "Spearman correlation with KL", "Reading"), rows
    )


def damage_sentence(damage: Damage) -> str:
    """What the correlations say, and what they leave open."""
    done = f"{plural(damage.n, 'unit')} ablated alone at strength {number(damage.strength)}, KL measured for each."
    scored = [(name, found) for name, found in _ranked(damage) if found.span is not None]
    if not scored:
        return f"{done} No correlation could be computed."
    best, found = scored[0]
    if found.low is None or found.low <= 0:
        return f"{done} No measure is shown to predict the KL: every interval reaches 0 or below."
    worse = [name for name, other in scored[1:] if other.high is not None and other.high < found.low]
    open_ = [name for name, _ in scored[1:] if name not in worse]
    text = f"{done} The damage is ordered best by {best}: {mean(found)}."
    if worse:
        text += f" The intervals of {_listed(worse)} lie wholly below it."
    if open_:
        text += f" The intervals of {_listed(open_)} overlap with it, so this sample does not settle which is better."
    return text


def _ranked(damage: Damage) -> list[tuple[str, Estimate]]:
    """Measures, best correlation first; what could not be computed comes last."""
    return sorted(damage.spearman.items(), key=lambda item: 2.0 if item[1].value is None else -item[1].value)


def _verdict(found: Estimate) -> str:
    """What one correlation says on its own."""
    if found.span is None:
        return "not computed"
    _, low, high = found.span
    if low > 0:
        return "larger values go with more damage"
    return "larger values go with less damage" if high < 0 else "not told apart from chance"


def _listed(names: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _cells(row: Unit) -> tuple[str, ...]:
    """Cells of one unit."""
    values = (*(row.b.get(role) for role in ("harmful", "borderline", "preserve")), row.sqrt_f, row.purity)
    cells = (*values, row.fdr, row.rho, row.variance_rho)
    return (
        row.short,
        row.direction,
        str(row.index),
        *("-" if value is None else number(value) for value in cells),
        row.input_mode or "-",
        "-" if row.strength is None else number(row.strength),
    )


def _read_unit(item: Record) -> Unit:
    """Reads one unit."""
    b, variance_purity = item.option("b"), item.maybe_number("variance_purity")
    pulls = {role: b.maybe_number(role) for role in b}
    return Unit(
        name=item.text("name"),
        module=item.text("module"),
        direction=item.text("direction"),
        index=int(item.maybe_number("pass") or 0),
        input_mode=item.maybe_text("input_mode"),
        fdr=item.maybe_number("fdr"),
        rho=item.maybe_number("rho"),
        variance_rho=None if variance_purity is None else 1 - variance_purity,
        b={role: value for role, value in pulls.items() if value is not None},
        sqrt_f=item.maybe_number("sqrt_f"),
        purity=item.maybe_number("purity"),
        strength=item.maybe_number("strength"),
    )


def _read_damage(record: Record) -> Damage:
    """Reads the damage study."""
    kl, spearman = record.option("kl"), record.section("spearman")
    values = {name: kl.maybe_number(name) for name in kl}
    return Damage(
        n=int(record.number("n")),
        strength=record.number("strength"),
        kl={name: value for name, value in values.items() if value is not None},
        spearman={name: read_estimate(spearman.section(name)) for name in spearman if name in spearman},
    )
