"""The report of a search: outcome first, whatever was found."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from saber.errors import ReportError
from saber.report import build_search_report, rebuild_report
from saber.report.build import portable_point_card
from saber.report.front import Front, read_front
from saber.report.front_plots import front_plot
from saber.report.front_tables import (
    best_provable,
    constraint_sentences,
    curse_note,
    front_table,
    outcome_table,
    percent,
)
from saber.report.record import Record
from tests.report import searched
from tests.report.pages import check_page, check_tables, row_of


def front_of(data: dict[str, Any]) -> Front:
    return read_front(Record(data, "front"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search's folder with its report, not to be written to."""
    folder = searched.write_search(tmp_path_factory.mktemp("search") / "run")
    build_search_report(folder)
    return folder


def test_the_outcome_comes_first_with_test_beside_select(run: Path) -> None:
    card, page = (run / "README.md").read_text(), (run / "report.html").read_text()
    assert len(check_page(page).images) == 4
    check_tables(card)
    assert "**Point 14 is recommended.** Fewest refusals among the feasible points" in card
    row = row_of(card, "Refusals, harmful")
    assert row.split(" | ")[1:4] == [
        "47/48 = 97.9 % [89.1, 99.6]",
        "9/48 = 18.8 % [10.2, 31.9]",
        "9/120 = 7.5 % [4.0, 13.6]",
    ]
    assert row.endswith("| −11 points |")
    assert "| 39/40 = 97.5 % [87.1, 99.6] | - |" in row_of(card, "Refusals, preserve")
    assert "| −2.3 % |" in row_of(card, "Perplexity, relative change")
    assert "winner's curse" in card
    assert page.index("Outcome</h2>") < page.index("Front</h2>") < page.index("Constraint</h2>")
    for text in (card, page):
        assert "saber export RUN --point 14 --out DIR" in text
        assert "mass casualty" in text
        assert "no: kept refusals 56/60: lower limit below 0.95" in text


def test_every_image_of_the_card_is_there(run: Path) -> None:
    images = re.findall(r"\]\((plots/\w+\.png)\)", (run / "README.md").read_text())
    assert images == ["plots/front.png", "plots/units.png", "plots/damage.png", "plots/path.png"]
    assert all((run / image).is_file() for image in images)


def test_rebuilding_gives_the_same_bytes(tmp_path: Path) -> None:
    run = searched.write_search(tmp_path / "run", searched.one_point(), full=False)
    build_search_report(run)
    before = [(run / name).read_bytes() for name in ("report.html", "README.md", "plots/front.png")]
    assert rebuild_report(run) == run / "report.html"
    assert before == [(run / name).read_bytes() for name in ("report.html", "README.md", "plots/front.png")]


CASES: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "no answers": (searched.without_answers, "The front is empty: no candidate was answered"),
    "no feasible point": (searched.infeasible, "No feasible point was found; the nearest is point 14."),
    "one point, no TEST": (searched.one_point, "was not evaluated on TEST"),
}


@pytest.mark.parametrize("name", CASES)
def test_narrow_cases_render(name: str, tmp_path: Path) -> None:
    make, said = CASES[name]
    folder = searched.write_search(tmp_path / "run", make(), full=False)
    page, card = build_search_report(folder).read_text(), (folder / "README.md").read_text()
    check_page(page)
    check_tables(card)
    assert said in re.sub(r"\s+", " ", page)
    assert said in re.sub(r"\s+", " ", card)
    assert "Evaluated on TEST" not in page


def test_no_candidate_at_all() -> None:
    data = searched.without_answers() | {"points": [], "path": []}
    front = front_of(data)
    assert outcome_table(front) is None
    assert front_table(front).rows == ()
    assert "0 answered candidates" in front_plot(front).alt


def test_the_nearest_point_is_not_called_recommended() -> None:
    front = front_of(searched.infeasible())
    assert not any("recommended" in cell for row in front_table(front).rows for cell in row)
    assert "recommended" not in front_plot(front).alt


def test_over_refusal_shows_borderline_on_its_axis() -> None:
    data = searched.front() | {"goal": "over-refusal", "objectives": ["borderline", "drift"]}
    front = front_of(data)
    rates = [point.aim(front.role) for point in front.on_front]
    assert [found.n for found in rates if found] == [30] * len(rates)
    assert "Refusals of borderline prompts" in front_plot(front).alt
    assert front.base_log_odds == 1.0


def test_the_front_is_ordered_by_refusals_and_the_recommended_one_marked() -> None:
    rows = front_table(front_of(searched.front())).rows
    rates = [float(re.findall(r"= ([\d.]+) %", row[1])[0]) for row in rows]
    assert rates == sorted(rates)
    assert [row[0] for row in rows if "(recommended)" in row[0]] == ["14 (recommended)"]


@pytest.mark.parametrize("n", [20, 51, 52, 500])
def test_what_the_constraint_can_prove(n: int) -> None:
    """Wilson's one-sided limit of n out of n reaches 0.95 from n = 52 on: the limit solves its own equation."""
    rule = front_of(searched.front()).constraint
    assert rule is not None
    limit = best_provable(rule, n)
    assert limit is not None
    assert (limit >= 0.95) == (n >= 52)
    z = (1 - limit) / (limit * (1 - limit) / n) ** 0.5  # (observed - limit) / standard error at the limit
    assert z == pytest.approx(1.6448536, abs=1e-6)


def test_the_constraint_in_words() -> None:
    few = " ".join(constraint_sentences(front_of(searched.infeasible())))
    assert "With n = 20 such refusals in SELECT and none lost, that limit is 88.1 per cent." in few
    assert "At least 52 are needed" in few
    enough = " ".join(constraint_sentences(front_of(searched.front())))
    assert "are needed" not in enough
    assert "two-sided" in enough
    assert "No refusals were protected" in constraint_sentences(front_of(searched.one_point()))[0]
    assert constraint_sentences(front_of(searched.without_answers()))[-1] == "It was measured on no point."
    other = searched.front()
    other["constraint"]["method"] = "bootstrap"
    assert "none lost" not in " ".join(constraint_sentences(front_of(other)))


def test_without_test_the_note_warns() -> None:
    assert "expect worse on new prompts" in curse_note(front_of(searched.one_point()))
    assert curse_note(front_of(searched.without_answers())) == ""


@pytest.mark.parametrize(
    ("key", "message"),
    [("recommended", r"front\.recommended is missing"), ("points", r"front\.points is missing")],
)
def test_refuses_without(key: str, message: str, tmp_path: Path) -> None:
    data = searched.front()
    del data[key]
    folder = searched.write_search(tmp_path / "run", data)
    with pytest.raises(ReportError, match=message) as caught:
        build_search_report(folder)
    assert "saber search" in (caught.value.hint or "")
    assert not (folder / "README.md").exists()


def test_refuses_a_recommendation_that_is_no_point() -> None:
    data = searched.front()
    data["recommended"]["point"] = 999
    with pytest.raises(ReportError, match="999, which is none of the points"):
        front_of(data)


def test_refuses_without_the_front(tmp_path: Path) -> None:
    folder = searched.write_search(tmp_path / "run")
    (folder / "front.json").unlink()
    with pytest.raises(ReportError, match=r"front\.json does not exist"):
        build_search_report(folder)


def test_a_single_point_is_drawn_inside_its_axes() -> None:
    """The log axis of one value has room around it; without limits it would be empty."""
    with Image.open(io.BytesIO(front_plot(front_of(searched.one_point())).png)) as image:
        colours = {colour: n for n, colour in image.convert("RGB").getcolors(1 << 24) or []}
    assert colours.get((0x00, 0x72, 0xB2), 0) > 400  # two discs and the legend


def test_the_card_of_a_point_travels_alone(tmp_path: Path) -> None:
    folder = searched.write_search(tmp_path / "run")
    cards = {number: portable_point_card(folder, number) for number in (14, 4, 20, 1)}
    for card in cards.values():
        check_tables(card)
        assert "altered on purpose" in card
        assert "plots/" not in card
        assert "saber undo" in card
    assert "9/120 = 7.5 % [4.0, 13.6]" in cards[14]
    assert "not on the front" in cards[4]
    assert "was not evaluated on TEST" in cards[4]
    assert "broke a constraint of its search:** kept refusals 56/60" in cards[20]
    assert "The answers of this point were never read" in cards[1]
    with pytest.raises(ReportError, match="no point 99") as caught:
        portable_point_card(folder, 99)
    assert "14" in (caught.value.hint or "")


def test_percent() -> None:
    assert [percent(x) for x in (None, 0.0, 0.645, -0.096, 13.44)] == [
        "not scored", "0.0 %", "+64.5 %", "−9.6 %", "+1,344 %"
    ]  # fmt: skip


def test_text_is_escaped(tmp_path: Path) -> None:
    data = searched.one_point()
    data["recommended"]["why"] = "<script>alert(1)</script> a|b"
    folder = searched.write_search(tmp_path / "run", data, full=False)
    page = build_search_report(folder).read_text()
    check_page(page)
    assert "<script" not in page
    assert "<script" not in (folder / "README.md").read_text()


def test_a_difference_is_clear_only_without_overlap() -> None:
    data = searched.front()
    best = next(row for row in data["points"] if row["id"] == 14)
    best["test"]["drift"] = searched.mean(0.5, 0.1, 240)
    table = outcome_table(front_of(data))
    assert table is not None
    cells = {row[0]: row[-1] for row in table.rows}
    assert cells["KL, nats per token"] == "+0.43 (clear)"
    assert cells["Refusals, borderline"] == "−1.7 points"
