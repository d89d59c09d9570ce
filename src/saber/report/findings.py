"""What was found and what was edited: spectrum, entanglement, plan and certificate, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from saber.report.outcome import Estimate, maybe_estimate
from saber.report.path import StrengthPath, read_path
from saber.report.record import Record
from saber.report.units import Units, read_units

EDITED = "edited"
"""Status of a direction that was edited."""


@dataclass(frozen=True)
class Layers:
    """Separability of every layer, and which layers were considered and chosen (first pass)."""

    fdr: tuple[float, ...]
    """Layer FDR, index = layer."""
    window: tuple[int, ...]
    """Layers of the depth window."""
    chosen: tuple[int, ...]
    """Layers whose directions were candidates."""
    null: float
    """FDR that a direction must exceed (not the layers' FDR, which is about 0 by chance)."""
    extraction: str
    """Extraction method."""
    n_harmful: int
    """Harmful prompts behind it."""
    n_harmless: int
    """Harmless prompts behind it."""


@dataclass(frozen=True)
class DirectionRow:
    """One direction, or one part of it, with all evidence for it and what became of it."""

    name: str
    """Layer and component, such as "L12.0"."""
    layer: int
    """Block index, 0-based."""
    index: int
    """Pass that found it, 0-based."""
    fdr: float | None
    """Cross-fitted Fisher discriminant ratio."""
    null: float | None
    """The ratio it must exceed."""
    stability: float | None
    """Mean |cos| over resamples."""
    rho: float | None
    """Entangled share."""
    purity: float | None
    """1 - rho."""
    alpha: float | None
    """Strength; None if it was not planned."""
    part: str
    """pure, entangled or whole; empty if it was not planned."""
    status: str
    """edited, skipped, or not selected."""
    reason: str
    """Why."""

    @property
    def edited(self) -> bool:
        """Whether anything was removed along it."""
        return self.status == EDITED


@dataclass(frozen=True)
class PassRow:
    """One pass of the refinement, measured on SELECT."""

    index: int
    directions: int
    refusal: Estimate | None
    kept_refusal: Estimate | None
    log_odds: float | None
    drift: float | None
    predicted_drop: float | None
    actual_drop: float | None
    self_repair: float | None
    fdr_max: float | None
    kept: bool
    """False: the pass was taken back."""


@dataclass(frozen=True)
class Certificate:
    """What the edit did to one writer, measured on the rounded weights."""

    writer: str
    component_left: float
    wanted_left: float
    relative_norm: float
    rank: int
    mode: str
    """Input-side mode; only in M0 is nothing of a component to be left."""


@dataclass(frozen=True)
class Findings:
    """Stages 2 to 5."""

    layers: Layers
    measure: str
    """How entanglement was measured."""
    random_rho: float | None
    """rho of a random direction."""
    threshold: float | None
    """rho above which directions are skipped."""
    directions: tuple[DirectionRow, ...]
    """Planned directions and candidates that were not selected."""
    scope: str
    """Which writers lose a direction."""
    post_norm: str
    """Solution behind post-norms."""
    scale: float
    """Common scale of all strengths, from the line search."""
    edited_layers: tuple[int, ...]
    writers: tuple[str, ...]
    passes: tuple[PassRow, ...]
    stopped: str
    """Why the refinement stopped."""
    certificates: tuple[Certificate, ...]
    strengths: str
    """Where the strengths came from: qp, purity or uniform; empty where plan.json does not say."""
    units: Units | None
    """Units of functional entanglement; None where another measure was used."""
    path: StrengthPath | None
    """The path of the quadratic program; None where there was none."""

    @property
    def edited(self) -> tuple[DirectionRow, ...]:
        """The directions, or parts, that were edited."""
        return tuple(row for row in self.directions if row.edited)


def read_findings(spectrum: Record, entanglement: Record, plan: Record, edit: Record) -> Findings:
    """Reads the records of stages 2 to 5.

    Raises:
        ReportError: A part is missing.
    """
    refinement = plan.section("refinement")
    return Findings(
        layers=_read_layers(spectrum),
        measure=entanglement.text("measure"),
        random_rho=entanglement.maybe_number("random_rho"),
        threshold=entanglement.maybe_number("threshold"),
        directions=_read_directions(spectrum, entanglement, plan),
        scope=plan.text("scope"),
        post_norm=plan.text("post_norm"),
        scale=plan.number("scale"),
        edited_layers=plan.integers("layers"),
        writers=plan.texts("writers"),
        passes=tuple(_read_pass(item) for item in refinement.sections("passes")),
        stopped=refinement.text("stopped"),
        certificates=tuple(_read_certificate(item) for item in edit.sections("certificates")),
        strengths=plan.maybe_text("strengths"),
        units=read_units(entanglement),
        path=read_path(plan),
    )


def _read_layers(record: Record) -> Layers:
    """Reads the layer profile."""
    return Layers(
        fdr=record.numbers("layer_fdr"),
        window=record.integers("window"),
        chosen=record.integers("chosen_layers"),
        null=record.number("null"),
        extraction=record.text("extraction"),
        n_harmful=int(record.number("n_harmful")),
        n_harmless=int(record.number("n_harmless")),
    )


def _read_directions(spectrum: Record, entanglement: Record, plan: Record) -> tuple[DirectionRow, ...]:
    """Planned directions in the plan's order, then the candidates that were not selected."""
    found = {
        (int(each.number("pass")), item.text("name")): item
        for each in spectrum.sections("passes")
        for item in each.sections("directions")
    }
    planned = [_planned(item, found) for item in plan.sections("directions")]
    taken = {(row.index, row.name) for row in planned}
    overlaps = entanglement.section("directions")
    left = [
        _candidate(index, item, overlaps)
        for (index, name), item in found.items()
        if (index, name) not in taken
    ]
    return (*planned, *left)


def _planned(item: Record, found: Mapping[tuple[int, str], Record]) -> DirectionRow:
    """A row of the plan, with null and stability from the spectrum."""
    name, index = item.text("name"), int(item.number("pass"))
    evidence = found.get((index, name), Record({}, item.place))
    return DirectionRow(
        name=name,
        layer=int(item.number("layer")),
        index=index,
        fdr=item.maybe_number("fdr"),
        null=evidence.maybe_number("null"),
        stability=evidence.maybe_number("stability"),
        rho=item.maybe_number("rho"),
        purity=item.maybe_number("purity"),
        alpha=item.number("alpha"),
        part=item.maybe_text("part"),
        status=item.text("status"),
        reason=item.maybe_text("reason"),
    )


def _candidate(index: int, item: Record, overlaps: Record) -> DirectionRow:
    """A candidate of the spectrum that the plan does not mention."""
    name = item.text("name")
    # The same name in a later pass is another direction.
    overlap = overlaps.option(f"{name}@{index}" if index else name)
    return DirectionRow(
        name=name,
        layer=int(item.number("layer")),
        index=index,
        fdr=item.maybe_number("fdr"),
        null=item.maybe_number("null"),
        stability=item.maybe_number("stability"),
        rho=overlap.maybe_number("rho"),
        purity=overlap.maybe_number("purity"),
        alpha=None,
        part="",
        status="not selected",
        reason="" if item.flag("significant") else "no better than shuffled labels",
    )


def _read_pass(item: Record) -> PassRow:
    """Reads one pass."""
    return PassRow(
        index=int(item.number("pass")),
        directions=int(item.number("directions")),
        refusal=maybe_estimate(item, "refusal"),
        kept_refusal=maybe_estimate(item, "kept_refusal"),
        log_odds=item.maybe_number("log_odds"),
        drift=item.maybe_number("drift"),
        predicted_drop=item.maybe_number("predicted_drop"),
        actual_drop=item.maybe_number("actual_drop"),
        self_repair=item.maybe_number("self_repair"),
        fdr_max=item.maybe_number("fdr_max"),
        kept=item.flag("kept"),
    )


def _read_certificate(item: Record) -> Certificate:
    """Reads the certificate of one writer."""
    return Certificate(
        writer=item.text("writer"),
        component_left=item.number("component_left"),
        wanted_left=item.number("wanted_left"),
        relative_norm=item.number("relative_norm"),
        rank=int(item.number("rank")),
        mode=item.text("mode") if "mode" in item else "M0",
    )
