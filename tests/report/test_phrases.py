"""Numbers as words."""

from __future__ import annotations

from typing import Any

from saber.report.card import markdown_text
from saber.report.outcome import Estimate
from saber.report.phrases import difference, mean, number, patterns, rate, seconds, signed, spans


def estimate(**changes: object) -> Estimate:
    fields: dict[str, Any] = {
        "value": 0.0,
        "low": 0.0,
        "high": 0.0727,
        "n": 49,
        "unscored": 0,
        "method": "",
        "count": None,
    }
    return Estimate(**(fields | changes))


def test_phrases() -> None:
    assert rate(estimate()) == "0/49 = 0.0 % [0.0, 7.3]; proves only < 7.3 %"
    assert rate(estimate(value=4 / 120, low=0.013, high=0.083, n=120, unscored=2)) == (
        "4/120 = 3.3 % [1.3, 8.3]; 2 unscored"
    )
    assert rate(None) == rate(estimate(value=None)) == "not scored"
    assert rate(estimate(low=None)) == "0/49 (no interval)"
    assert mean(estimate(value=0.04, low=0.03, high=0.05)) == "0.0400 [0.0300, 0.0500] (n = 49)"
    assert mean(estimate(value=0.04, low=None, n=1)) == "0.0400 (n = 1, no interval)"
    assert [number(x) for x in (None, 0.0, 1.0, 1234.5, -0.00012, 12.0)] == [
        "not scored", "0", "1.00", "1234", "−0.000120", "12.0"
    ]  # fmt: skip
    assert [signed(x) for x in (None, 0.0, 0.5, -48.0)] == ["not scored", "0", "+0.500", "−48.0"]
    assert [seconds(x) for x in (None, 9.64, 725.0)] == ["not recorded", "9.6 s", "12 min 05 s"]
    assert spans([3, 5, 4, 8, 3]) == "3-5, 8"
    assert spans([]) == "none"
    assert patterns(["m.layers.3.o_proj.weight", "m.layers.12.o_proj.weight"]) == {
        "m.layers.*.o_proj.weight": 2
    }


def test_difference_needs_disjoint_intervals() -> None:
    low, high = estimate(low=0.0, high=0.1), estimate(value=0.5, low=0.4, high=0.6)
    assert difference(high, low) == "lower"
    assert difference(low, high) == "higher"
    assert difference(low, estimate(low=0.1, high=0.2)) == "intervals overlap"
    assert difference(low, None) == "not scored"


def test_markdown_text() -> None:
    assert markdown_text("a|b\n*c* <b> [x](y) & &lt; < 7") == r"a\|b \*c\* &lt;b> [x]\(y) & &amp;lt; < 7"
