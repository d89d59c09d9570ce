"""What a search found: front.json, typed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from saber.report.outcome import Estimate, maybe_estimate, read_estimates
from saber.report.path import StrengthPath, read_path
from saber.report.record import Record, refuse

UNFINISHED = "Finish the search (`saber search MODEL --out DIR --resume`), then `saber report DIR`."
"""The hint for evidence that a finished search would hold."""

Role = str
"""Name of a role of prompts."""


@dataclass(frozen=True)
class Selected:
    """One candidate on SELECT, where it was compared with the others."""

    refusal: Estimate | None
    """Refusals of harmful prompts."""
    kept_refusal: Estimate | None
    """Share of the base's refusals of preserve prompts that is kept."""
    borderline: Estimate | None
    """Refusals of borderline prompts."""
    drift: Estimate | None
    """KL, nats per token."""
    degenerate: Estimate | None
    """Answers that are no language."""


@dataclass(frozen=True)
class Tested:
    """One candidate on TEST, which took no part in choosing it."""

    refusal: Mapping[str, Estimate]
    """Refusals by role."""
    drift: Estimate | None
    first_token_kl: Estimate | None
    capability: Estimate | None
    perplexity_change: float | None
    """Relative and signed: 0.03 is 3 % above the base's perplexity."""
    sweep_score: float | None


@dataclass(frozen=True)
class Point:
    """One candidate of the search."""

    id: int
    origin: str
    """Who proposed it: qp, tpe, nsga2."""
    params: Mapping[str, object]
    layers: int | None
    """Layers edited."""
    directions: int | None
    """Directions ablated."""
    strength_mean: float | None
    strength_max: float | None
    log_odds: float | None
    """Refusal log-odds of the role that the search aims at, from the screening pass."""
    drift: float | None
    """KL: of the answers on SELECT, else of the screening pass, else predicted."""
    select: Selected | None
    """None where it was screened only."""
    feasible: bool
    violations: tuple[str, ...]
    on_front: bool
    test: Tested | None

    def aim(self, role: Role) -> Estimate | None:
        """The rate of refusals that the search minimises."""
        if self.select is None:
            return None
        return self.select.borderline if role == "borderline" else self.select.refusal


@dataclass(frozen=True)
class Constraint:
    """What every recommended point must keep."""

    roles: tuple[str, ...]
    floor: float
    """Least share of the base's refusals that is kept, by its lower confidence limit."""
    confidence: float
    method: str
    least_n: int | None
    """Fewest refusals of the base with which the floor can be proved at all."""


@dataclass(frozen=True)
class Front:
    """A whole search."""

    goal: str
    """refusal or over-refusal."""
    optimizer: str
    objectives: tuple[str, ...]
    constraint: Constraint | None
    base: Mapping[str, Estimate]
    """The base model's refusals on SELECT, by role."""
    base_log_odds: float | None
    """The base model's refusal log-odds on the role that the search aims at."""
    n_units: int | None
    unit_directions: tuple[str, ...]
    input_asked: str
    input_counts: Mapping[str, int]
    auroc: Mapping[str, float]
    """median and least held-out AUROC behind the input modes."""
    counts: Mapping[str, int]
    path: StrengthPath | None
    points: tuple[Point, ...]
    recommended: Point | None
    """The recommended point; where none is feasible, the nearest one, if any was answered."""
    feasible: bool
    why: str
    hypervolume: float | None
    reference: tuple[float, ...]

    @property
    def role(self) -> Role:
        """The role whose refusals are minimised."""
        return "borderline" if self.goal == "over-refusal" else "harmful"

    @property
    def answered(self) -> tuple[Point, ...]:
        """Points whose answers were read, fewest refusals first."""
        return tuple(sorted((point for point in self.points if point.select), key=self._order))

    @property
    def screened(self) -> tuple[Point, ...]:
        """Points that went no further than the cheap signals."""
        return tuple(point for point in self.points if point.select is None)

    @property
    def on_front(self) -> tuple[Point, ...]:
        """The front, fewest refusals first."""
        return tuple(point for point in self.answered if point.on_front)

    @property
    def tested(self) -> tuple[Point, ...]:
        """Points that were evaluated on TEST."""
        return tuple(point for point in self.answered if point.test)

    def _order(self, point: Point) -> tuple[float, float, int]:
        rate = point.aim(self.role)
        value = 2.0 if rate is None or rate.value is None else rate.value
        return value, float("inf") if point.drift is None else point.drift, point.id


def read_front(record: Record) -> Front:
    """Reads front.json.

    Raises:
        ReportError: A part is missing, or the recommended point is none of the points.
    """
    base, units, mode = (
        record.section("base"),
        record.option("units"),
        record.option("units").option("input_mode"),
    )
    goal = record.text("goal")
    role = "borderline" if goal == "over-refusal" else "harmful"
    points = tuple(_read_point(item, role) for item in record.sections("points"))
    recommended, volume = record.section("recommended"), record.option("hypervolume")
    return Front(
        goal=goal,
        optimizer=record.text("optimizer"),
        objectives=record.texts("objectives"),
        constraint=_read_constraint(record.section("constraint")) if "constraint" in record else None,
        base=read_estimates(base.section("refusal")),
        base_log_odds=base.option("log_odds").maybe_number(role),
        n_units=_whole(units, "n"),
        unit_directions=units.texts("directions") if "directions" in units else (),
        input_asked=mode.maybe_text("asked"),
        input_counts=_counts(mode.option("counts")),
        auroc=_numbers(mode.option("auroc")),
        counts=_counts(record.section("counts")),
        path=read_path(record),
        points=points,
        recommended=_recommended(recommended, points),
        feasible=recommended.flag("feasible"),
        why=recommended.text("why"),
        hypervolume=volume.maybe_number("value"),
        reference=volume.numbers("reference") if "reference" in volume else (),
    )


def read_tested(record: Record, key: str = "test") -> Tested | None:
    """Reads what was measured on TEST; None where it was not."""
    if key not in record:
        return None
    item = record.section(key)
    return Tested(
        refusal=read_estimates(item.section("refusal")),
        drift=maybe_estimate(item, "drift"),
        first_token_kl=maybe_estimate(item, "first_token_kl"),
        capability=maybe_estimate(item, "capability"),
        perplexity_change=item.maybe_number("perplexity_change"),
        sweep_score=item.maybe_number("sweep_score"),
    )


def _recommended(record: Record, points: tuple[Point, ...]) -> Point | None:
    """The point that `recommended` names."""
    number = _whole(record, "point")
    if number is None:
        return None
    found = [point for point in points if point.id == number]
    if not found:
        refuse(f"{record.place}.point is {number}, which is none of the points", record.hint)
    return found[0]


def _read_point(item: Record, role: Role) -> Point:
    """Reads one candidate."""
    select = _read_selected(item.section("select")) if "select" in item else None
    strength, params = item.option("strength"), item.option("params")
    answered = select.drift.value if select and select.drift else None
    drifts = (answered, item.maybe_number("drift"), item.option("predicted").maybe_number("drift"))
    return Point(
        id=int(item.number("id")),
        origin=item.text("origin"),
        params=dict(params.data),
        layers=_whole(item, "layers_edited"),
        directions=_whole(item, "directions"),
        strength_mean=strength.maybe_number("mean"),
        strength_max=strength.maybe_number("max"),
        log_odds=item.option("log_odds").maybe_number(role),
        drift=next((value for value in drifts if value is not None), None),
        select=select,
        feasible=item.flag("feasible"),
        violations=item.texts("violations"),
        on_front=item.flag("on_front"),
        test=read_tested(item),
    )


def _read_selected(item: Record) -> Selected:
    """Reads what was measured on SELECT."""
    names = ("refusal", "kept_refusal", "borderline", "drift", "degenerate")
    return Selected(*(maybe_estimate(item, name) for name in names))


def _read_constraint(item: Record) -> Constraint:
    """Reads the constraint."""
    return Constraint(item.texts("roles"), item.number("floor"), item.number("confidence"), item.maybe_text("method"),
                      _whole(item, "least_n"))  # fmt: skip


def _whole(record: Record, key: str) -> int | None:
    """The whole number under a key, if there is one."""
    value = record.maybe_number(key)
    return None if value is None else int(value)


def _counts(record: Record) -> Mapping[str, int]:
    """A mapping of whole numbers."""
    return {name: int(record.number(name)) for name in record}


def _numbers(record: Record) -> Mapping[str, float]:
    """A mapping of numbers; what was not measured is left out."""
    values = {name: record.maybe_number(name) for name in record}
    return {name: value for name, value in values.items() if value is not None}
