"""The predicted path of strengths beside what was measured along it: typed and in words."""

from __future__ import annotations

from dataclasses import dataclass

from saber.report.phrases import number, plural
from saber.report.record import Record
from saber.report.table import Table


@dataclass(frozen=True)
class Step:
    """One lambda of the path."""

    weight: float | None
    """lambda, the weight of drift against refusal."""
    predicted_log_odds: float | None
    """Refusal log-odds by the linear model, nats."""
    measured_log_odds: float | None
    """Refusal log-odds as measured; None where the step was not evaluated."""
    predicted_drift: float | None
    """KL by the quadratic model, nats per token."""
    measured_drift: float | None
    """KL as measured."""
    point: str
    """Candidate that stands for the step; empty where there is none."""


@dataclass(frozen=True)
class Prediction:
    """How well the quadratic model predicted the KL along the path."""

    error: float | None
    """Median of |predicted - measured| / measured."""
    n: int
    """Steps behind it."""
    spearman: float | None
    """Rank correlation of predicted and measured KL."""


@dataclass(frozen=True)
class StrengthPath:
    """The path in the order of lambda, with the quality of its prediction."""

    steps: tuple[Step, ...]
    prediction: Prediction | None

    @property
    def measured(self) -> tuple[Step, ...]:
        """Steps whose KL was predicted and measured."""
        return tuple(
            step
            for step in self.steps
            if step.predicted_drift is not None and step.measured_drift is not None
        )


def read_path(record: Record) -> StrengthPath | None:
    """Reads `path` and `prediction` of plan.json or front.json; None where strengths came from elsewhere."""
    if "path" not in record or not record.sections("path"):
        return None
    steps = sorted(map(_read_step, record.sections("path")), key=lambda step: -(step.weight or 0.0))
    found = record.option("prediction")
    prediction = (
        Prediction(
            found.maybe_number("median_relative_error"),
            int(found.number("n")),
            found.maybe_number("spearman"),
        )
        if list(found)
        else None
    )
    return StrengthPath(tuple(steps), prediction)


def path_table(path: StrengthPath) -> Table:
    """Predicted and measured side by side, the weakest edit first."""
    columns = ("lambda", "Log-odds predicted", "Log-odds measured", "KL predicted", "KL measured",
               "KL measured / predicted", "Point")  # fmt: skip
    return Table("Along the path: predicted and measured on SELECT", columns, tuple(map(_cells, path.steps)),
                 (1, 2, 3, 4, 5))  # fmt: skip


def prediction_sentence(path: StrengthPath) -> str:
    """How far prediction and measurement lie apart, in one sentence."""
    found = path.prediction
    if found is None or found.error is None or found.n == 0:
        return "The prediction was not compared with measurements."
    ranks = "" if found.spearman is None else f"; the rank correlation is {number(found.spearman)}"
    return (
        f"Over {plural(found.n, 'measured step')} of the path, |predicted - measured| / measured KL has the median "
        f"{number(found.error)}{ranks}."
    )


def _cells(step: Step) -> tuple[str, ...]:
    """Cells of one step; what was not measured is a dash."""
    ratio = (
        step.measured_drift / step.predicted_drift if step.measured_drift and step.predicted_drift else None
    )
    values = (step.weight, step.predicted_log_odds, step.measured_log_odds, step.predicted_drift,
              step.measured_drift, ratio)  # fmt: skip
    return (*("-" if value is None else number(value) for value in values), step.point or "-")


def _read_step(item: Record) -> Step:
    """Reads one step."""
    return Step(
        weight=item.maybe_number("lambda"),
        predicted_log_odds=item.maybe_number("predicted_log_odds"),
        measured_log_odds=item.maybe_number("measured_log_odds"),
        predicted_drift=item.maybe_number("predicted_drift"),
        measured_drift=item.maybe_number("measured_drift"),
        point=item.maybe_text("point"),
    )
