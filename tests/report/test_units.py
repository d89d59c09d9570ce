"""Functional entanglement and the path of strengths in the report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from saber.report import build_report, model_card
from saber.report.canvas import Plot, log_limits
from saber.report.page import report_page
from saber.report.path import path_table, prediction_sentence, read_path
from saber.report.record import Record
from saber.report.unit_plots import unit_figures
from saber.report.units import Damage, damage_sentence, damage_table, read_units, units_sentence, units_table
from tests.report import searched
from tests.report.pages import check_page, check_tables
from tests.report.synthetic import evidence_of, records, write_run


def units_of(data: dict[str, Any]) -> Any:
    return read_units(Record(data, "entanglement"))


def damage(**spearman: tuple[float, float, float] | None) -> Damage:
    empty = {"value": None, "low": None, "high": None, "n": 24}
    found = {
        name: empty if each is None else dict(zip(("value", "low", "high"), each, strict=True)) | {"n": 24}
        for name, each in spearman.items()
    }
    record = searched.units() | {"damage": {"n": 24, "strength": 1.0, "kl": {}, "spearman": found}}
    return units_of(record).damage  # type: ignore[no-any-return]


def test_a_run_with_units_shows_them(tmp_path: Path) -> None:
    data = records()
    data["entanglement"] |= searched.units() | {"measure": "functional"}
    data["plan"] |= searched.path() | {"strengths": "qp"}
    folder = write_run(tmp_path / "run", data)
    page = build_report(folder).read_text()
    card = (folder / "README.md").read_text()
    assert len(check_page(page).images) == 6
    check_tables(card)
    for text in (page, card):
        assert "The damage is ordered best by functional sqrt(F): 0.910 [0.800, 0.960] (n = 24)" in text
        assert "has the median 0.130; the rank correlation is 0.990" in text
        assert "16 more are in entanglement.json" in text
        assert "quadratic program over the units (qp)" in text
    for name in ("units", "damage", "path"):
        with Image.open(folder / "plots" / f"{name}.png") as image:
            assert image.width == 1280
            assert f"plots/{name}.png" in card


def test_null_damage_and_no_path_leave_nothing_behind() -> None:
    data = records()
    data["entanglement"] |= searched.units() | {"damage": None}
    data["plan"] |= {"strengths": "purity", "path": [], "prediction": None}
    evidence = evidence_of(data)
    plots = [
        Plot(name, f"The {name}", "drawn elsewhere", b"") for name in ("outcome", "layers", "purity", "units")
    ]
    page, card = report_page(evidence, plots), model_card(evidence, plots)
    check_page(page)
    for text in (page, card):
        assert "redicts damage" not in text
        assert "Predicted and measured" not in text
    assert [plot.name for plot in unit_figures(evidence.findings.units, evidence.findings.path)] == ["units"]


def test_units_are_ordered_by_the_size_of_b() -> None:
    data = searched.units(4)
    for row, pull in zip(data["units"], (0.1, -3.0, 2.0, 0.0), strict=True):
        row["b"]["harmful"] = pull
    data["units"][0]["sqrt_f"] = None
    data["units"][1]["strength"] = 0.0
    found = units_of(data)
    rows = units_table(found).rows
    assert [row[3] for row in rows] == ["−3.00", "2.00", "0.100", "0"]
    assert rows[0][0] == "0.self_attn.o_proj"
    assert rows[2][6] == "-"
    assert "more are in" not in units_sentence(found)


def test_measures_are_ordered_and_read() -> None:
    found = damage(weak=(0.1, -0.2, 0.4), strong=(0.9, 0.8, 0.95), reverse=(-0.7, -0.8, -0.5), constant=None)
    assert [(row[0], row[2]) for row in damage_table(found).rows] == [
        ("strong", "larger values go with more damage"),
        ("weak", "not told apart from chance"),
        ("reverse", "larger values go with less damage"),
        ("constant", "not computed"),
    ]


@pytest.mark.parametrize(
    ("spearman", "said"),
    [
        ({"a": (0.9, 0.8, 0.95), "b": (0.7, 0.4, 0.85)}, "The intervals of b overlap with it"),
        (
            {"a": (0.9, 0.8, 0.95), "b": (0.2, 0.0, 0.4), "c": (0.1, 0.0, 0.3)},
            "of b and c lie wholly below it",
        ),
        ({"a": (0.3, -0.1, 0.6)}, "No measure is shown to predict the KL"),
        ({"a": None}, "No correlation could be computed"),
    ],
)
def test_the_sentence_claims_no_more_than_the_intervals(spearman: dict[str, Any], said: str) -> None:
    assert said in damage_sentence(damage(**spearman))


def test_path_is_ordered_by_lambda_and_shows_what_was_not_measured() -> None:
    data = searched.path(3)
    data["path"].reverse()
    found = read_path(Record(data, "plan"))
    assert found is not None
    rows = path_table(found).rows
    assert [row[0] for row in rows] == ["100", "33.3", "11.1"]
    assert rows[0][5] == "0.850"
    assert rows[2][2] == rows[2][4] == rows[2][5] == "-"
    assert len(found.measured) == 2


def test_figures_of_narrow_cases() -> None:
    """One unit without strength or curvature, one step, nothing measured along the path."""
    data = searched.units(1, damaged=1)
    data["units"][0] |= {"strength": 0.0, "sqrt_f": 0.0}
    path = searched.path(1)
    for row in path["path"]:
        row |= {"measured_drift": None, "measured_log_odds": None}
    found = read_path(Record(path | {"prediction": None}, "plan"))
    assert found is not None
    assert "not compared" in prediction_sentence(found)
    assert [plot.name for plot in unit_figures(units_of(data), found)] == ["units", "damage", "path"]


def test_log_limits_leave_room() -> None:
    assert log_limits([2.0]) == (2.0 / 1.5, 3.0)
    low, high = log_limits([0.0, 1.0])
    assert low < 0.5 < 1.0 < high  # what is not positive is drawn at half the smallest positive value
    assert log_limits([])[0] < log_limits([])[1]
