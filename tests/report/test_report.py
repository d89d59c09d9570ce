"""The card, the page and the figures: what they say, and that they are well formed."""

from __future__ import annotations

import copy
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from saber.report import build_report, model_card, read_evidence
from saber.report.canvas import Plot
from saber.report.page import report_page
from saber.report.plots import draw_plots
from saber.report.rows import public_name
from saber.store import RunFolder
from tests.report import synthetic
from tests.report.pages import Balance
from tests.report.synthetic import EMPTY_RATE, evidence_of, records, write_run

NASTY = "<script>alert('|x|')</script>"
BLANK = [Plot(name, f"The {name}", NASTY, b"") for name in ("outcome", "layers", "purity")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with its report, not to be written to."""
    folder = write_run(tmp_path_factory.mktemp("report") / "run")
    build_report(folder)
    return folder


@pytest.fixture(scope="module")
def card(run: Path) -> str:
    return (run / "README.md").read_text()


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return (run / "report.html").read_text()


def test_front_matter_parses(card: str) -> None:
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["base_model"] == "google/gemma-3-1b-it"
    assert front["license"] == "gemma"
    assert front["tags"] == ["saber", "abliteration"]
    assert front["library_name"] == "transformers"


@pytest.mark.parametrize("licence", ['MIT "modified": yes', "unknown"])
def test_front_matter_with_odd_licences(licence: str) -> None:
    data = records()
    data["manifest"]["model"]["license"] = licence
    card = model_card(evidence_of(data))
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == ("unknown" if licence == "unknown" else "other")
    assert ("base model is **unknown**" in card) == (licence == "unknown")


def test_every_rate_has_n_and_interval(card: str, page: str) -> None:
    for text in (card, re.sub(r"(?s)<style>.*?</style>|<[^>]+>", "", page).replace("&lt;", "<")):
        whole = r"\d+/\d+ = [\d.]+ % \[[\d.]+, [\d.]+\]"
        assert len(re.findall(whole, text)) > 40
        rest = re.sub(whole, "", text)
        rest = re.sub(r"proves only < [\d.]+ %", "", rest)
        rest = re.sub(r"(wilson|bootstrap) 95 %", "", rest)
        assert "%" not in rest


def test_card_states_the_alteration_and_what_remains(card: str) -> None:
    assert "refusal behaviour of this model was altered on purpose" in card
    assert "118/120 = 98.3 % [94.1, 99.5]" in card
    assert "4/120 = 3.3 % [1.3, 8.3]" in card
    assert "0/30 = 0.0 % [0.0, 11.4]; proves only < 11.4 %" in card
    assert "140 times its noise floor" in card
    assert "| all | 7.920 | 7.310 | −0.610 | −0.0801 |" in card
    assert "A decrease is drift too" in card
    assert "saber undo" in card
    for fact in ("e" * 64, "b" * 64, "2" * 64, "--seed 0", "5.20.0", "spectrum.global_top_k", "taken back"):
        assert fact in card
    for word in ("improv", "surgical", "state-of-the-art"):
        assert word not in card.lower().replace("**a decrease is drift too**, not an improvement", "")


def test_card_tables_have_equal_cells(card: str) -> None:
    for block in re.findall(r"(?:^\|.*\|\n)+", card, flags=re.M):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(counts) == 1, block


def test_card_images_exist(card: str, run: Path) -> None:
    images = re.findall(r"\]\((plots/[a-z]+\.png)\)", card)
    assert len(images) == 3
    assert all((run / image).is_file() for image in images)
    assert "plots/" not in model_card(read_evidence(RunFolder.open(run)))


def test_page_is_well_formed_and_loads_nothing(page: str) -> None:
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert len(parser.loaded) == 3
    assert all(source.startswith("data:image/png;base64,") for source in parser.loaded)
    assert all(image["alt"] for image in parser.images)
    assert {head["scope"] for head in parser.heads} == {"row", "col"}
    assert parser.levels[0] == 1
    assert all(after <= before + 1 for before, after in zip(parser.levels, parser.levels[1:], strict=False))
    assert "http:" not in page
    assert "https:" not in page
    assert "url(" not in page
    assert "@import" not in page
    ids = set(re.findall(r'id="(\w+)"', page))
    assert set(re.findall(r'href="#(\w+)"', page)) == ids


def test_long_tables_are_folded(page: str) -> None:
    assert re.search(r"<details><summary>All directions: 20 rows</summary>", page)


def test_text_is_escaped() -> None:
    data = records()
    for side in ("base", "edited"):
        categories = data["evaluation"][side]["refusal_by_category"]["harmful"]
        categories[NASTY] = categories.pop("cyber")
    data["manifest"]["command"] = f"saber run x --set a='{NASTY}' ```"
    data["manifest"]["model"]["name"] = NASTY
    evidence = evidence_of(data)
    page = report_page(evidence, BLANK)
    Balance().feed(page)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    card = model_card(evidence)
    outside = re.sub(r"(?s)````text\n.*?````|`[^`\n]*`", "", card.split("---\n", 2)[2])
    assert "<script" not in outside
    assert yaml.safe_load(card.split("---\n")[1])["base_model"] == public_name(NASTY)
    for block in re.findall(r"(?:^\|.*\|\n)+", card, flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_figures_have_a_sane_size(run: Path) -> None:
    for name in ("outcome", "layers", "purity"):
        data = (run / "plots" / f"{name}.png").read_bytes()
        assert 10_000 < len(data) < 300_000
        with Image.open(io.BytesIO(data)) as image:
            assert image.width == 1280
            assert 600 <= image.height <= 1000
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 20


def test_same_run_same_bytes(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again)
    shutil.rmtree(again / "plots")
    assert build_report(again).read_bytes() == (run / "report.html").read_bytes()
    assert (again / "README.md").read_bytes() == (run / "README.md").read_bytes()


def test_bare_minimum_renders() -> None:
    """Nothing edited, only harmful prompts, no passes: everything else reads "not scored" or is left out."""
    data = copy.deepcopy(records())
    for side in ("base", "edited"):
        record = data["evaluation"][side]
        data["evaluation"][side] = {
            "refusal": {"harmful": record["refusal"]["harmful"], "preserve": None},
            "refusal_by_category": {"harmful": record["refusal_by_category"]["harmful"]},
            "capability": {"arithmetic": record["capability"]["arithmetic"]},
        }
    data["evaluation"]["edited"]["refusal"]["preserve"] = EMPTY_RATE
    data["evaluation"]["drift"] = {"answer_kl": synthetic.mean(0.0, 0.0, 9), "noise_floor": 0.0}
    del data["evaluation"]["capability_change"]
    data["spectrum"] |= {"null": 0.0, "window": [], "chosen_layers": [], "passes": []}
    data["plan"] |= {"directions": [], "layers": [], "writers": []}
    data["plan"]["refinement"] = {"passes": [], "stopped": "no direction stands above its null any more"}
    data["edit"]["certificates"] = []
    evidence = evidence_of(data)
    card, page = model_card(evidence), report_page(evidence, draw_plots(evidence))
    assert "No direction was edited" in card
    assert "not scored (120 unscored)" in card
    assert "repeated runs of the base agree exactly" in page
    Balance().feed(page)


def test_prompts_without_categories() -> None:
    data = records()
    for side in ("base", "edited"):
        data["evaluation"][side]["refusal_by_category"]["harmful"] = {}
    card = model_card(evidence_of(data))
    assert "| (prompts name no category) | harmful | 118/120 = 98.3 % [94.1, 99.5] | 4/120 = 3.3 %" in card


def test_parts_of_a_direction_count_once() -> None:
    data = records()
    row = data["plan"]["directions"][0]
    data["plan"]["directions"].append(row | {"part": "entangled", "alpha": 0.03})
    assert "| Directions edited | 8 |" in model_card(evidence_of(data))


def test_report_imports_no_torch() -> None:
    code = "import sys, saber.report; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("org/name", "org/name"),
        ("demo", "demo"),
        ("/data/models/x-it", "x-it"),
        ("./x-it", "x-it"),
        ("a/b/c", "c"),
    ],
)
def test_a_folder_is_named_without_its_place(given: str, shown: str) -> None:
    data = records()
    data["manifest"]["model"]["name"] = given
    data["manifest"]["command"] = f"saber run {given} --out /data/runs/1 --set a.b=/data/x.txt"
    evidence = evidence_of(data)
    assert evidence.model.name == shown
    assert "/data" not in model_card(evidence) + report_page(evidence, BLANK)
