"""What was measured on the base and on the edited model: `evaluation.json`, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from saber.report.record import Record, refuse

TOTAL = "all"
"""Name of the category that sums up the capability battery."""


@dataclass(frozen=True)
class Estimate:
    """A measured number with its interval; `value` is None where it could not be scored."""

    value: float | None
    """The number: a rate, 0-1, or a mean."""
    low: float | None
    """Lower end of the interval."""
    high: float | None
    """Upper end of the interval."""
    n: int
    """How many prompts were scored."""
    unscored: int
    """How many prompts could not be scored."""
    method: str
    """How the interval was made."""
    count: int | None
    """For a rate: how many of the n."""

    @property
    def span(self) -> tuple[float, float, float] | None:
        """Value, low and high; None without prompts, number or interval."""
        if self.n <= 0 or self.value is None or self.low is None or self.high is None:
            return None
        return self.value, self.low, self.high

    @property
    def hits(self) -> int:
        """For a rate: how many of the n, from the rate itself where the count is not recorded."""
        return round((self.value or 0.0) * self.n) if self.count is None else self.count


@dataclass(frozen=True)
class Side:
    """One of the two models, base or edited."""

    refusal: Mapping[str, Estimate]
    """Refusal rate by role."""
    by_category: Mapping[str, Mapping[str, Estimate]]
    """Refusal rate by role, then category; a role whose prompts name no category is empty."""
    classes: Mapping[str, Mapping[str, int]]
    """How many answers of each class, by role."""
    capability: Mapping[str, Estimate]
    """Accuracy by category of the battery; `all` is the total."""
    perplexity: Mapping[str, float | None]
    """Perplexity of the battery's answers by category."""
    degenerate: Estimate | None
    """Rate of answers that are no language."""
    log_odds: Estimate | None
    """Mean first-token refusal log-odds on harmful prompts, nats."""


@dataclass(frozen=True)
class Drift:
    """KL(base || edited) in nats per token."""

    answer: Estimate
    """Mean over the tokens of the base model's own answers."""
    p95: float | None
    """95th percentile over prompts or tokens, as evaluation.json has it."""
    largest: float | None
    """Maximum."""
    first_token: Estimate | None
    """First answer token only."""
    noise_floor: float
    """KL(base || base at another batch size): what rounding alone gives."""


@dataclass(frozen=True)
class Change:
    """Paired change of one capability category."""

    gained: int
    """Tasks that only the edited model solves."""
    lost: int
    """Tasks that only the base model solves."""
    p_value: float | None
    """McNemar's test."""


def read_side(record: Record) -> Side:
    """Reads and checks `evaluation.base` or `evaluation.edited`.

    Raises:
        ReportError: No harmful refusal rate with n > 0 and interval, no categories, or no capability.
    """
    refusal, by_category = record.section("refusal"), record.section("refusal_by_category")
    side = Side(
        refusal=read_estimates(refusal),
        by_category={role: read_estimates(by_category.section(role)) for role in by_category},
        classes={
            role: _counts(classes.section(role)) for classes in [record.option("classes")] for role in classes
        },
        capability=read_estimates(record.section("capability")),
        perplexity={
            name: record.option("perplexity").maybe_number(name) for name in record.option("perplexity")
        },
        degenerate=maybe_estimate(record, "degenerate"),
        log_odds=maybe_estimate(record, "refusal_log_odds"),
    )
    _require_rate(side, refusal)
    if "harmful" not in side.by_category:
        refuse(f"{by_category.place}.harmful is missing", record.hint)
    if not any(name != TOTAL and rate.span for name, rate in side.capability.items()):
        refuse(f"{record.place}.capability has no scored category", record.hint)
    return side


def read_drift(record: Record) -> Drift:
    """Reads and checks `evaluation.drift`.

    Raises:
        ReportError: No mean with n > 0 and interval, or no noise floor.
    """
    answer = read_estimate(record.section("answer_kl"))
    if answer.span is None:
        refuse(f"{record.place}.answer_kl has no value with n > 0 and an interval", record.hint)
    return Drift(
        answer=answer,
        p95=record.maybe_number("answer_kl_p95"),
        largest=record.maybe_number("answer_kl_max"),
        first_token=maybe_estimate(record, "first_token_kl"),
        noise_floor=record.number("noise_floor"),
    )


def read_changes(record: Record) -> Mapping[str, Change]:
    """Reads `evaluation.capability_change`."""
    sections = {name: record.section(name) for name in record}
    return {
        name: Change(int(item.number("gained")), int(item.number("lost")), item.maybe_number("p_value"))
        for name, item in sections.items()
    }


def read_estimate(record: Record) -> Estimate:
    """Reads one estimate; `n` must be there, what could not be scored is None."""
    count = record.maybe_number("count")
    return Estimate(
        value=record.maybe_number("value"),
        low=record.maybe_number("low"),
        high=record.maybe_number("high"),
        n=int(record.number("n")),
        unscored=int(record.maybe_number("unscored") or 0),
        method=record.maybe_text("method"),
        count=None if count is None else int(count),
    )


def read_estimates(record: Record) -> Mapping[str, Estimate]:
    """Reads a mapping of estimates; null entries (not measured) are left out."""
    return {name: read_estimate(record.section(name)) for name in record if name in record}


def maybe_estimate(record: Record, key: str) -> Estimate | None:
    """Reads one estimate that may be missing."""
    return read_estimate(record.section(key)) if key in record else None


def _require_rate(side: Side, refusal: Record) -> None:
    """Refuses a side whose harmful refusal rate is not stated in full."""
    rate = side.refusal.get("harmful")
    if rate is None:
        refuse(f"{refusal.place}.harmful is missing", refusal.hint)
    if rate.n <= 0:
        refuse(f"{refusal.place}.harmful was measured on n = {rate.n} prompts", refusal.hint)
    if rate.span is None:
        refuse(f"{refusal.place}.harmful has no value with an interval", refusal.hint)


def _counts(record: Record) -> Mapping[str, int]:
    """Reads a mapping of counts."""
    return {name: int(record.number(name)) for name in record}
