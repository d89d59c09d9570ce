"""`saber sweep`: the published table, an interrupt in the middle, and what is refused before anything is loaded."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from saber.cli import main, sweeping
from saber.search import sweep
from saber.search.grid import PUBLISHED_PRESET
from tests import tiny
from tests.cli.conftest import Refused, last_line
from tests.search.test_sweep import ALPHA, FAST, SIZES, TOP_K

GRID = ["--grid", f"{TOP_K}=1,2", "--grid", f"{ALPHA}=0.5,1.0"]


@dataclass(frozen=True)
class Swept:
    """A 2 x 2 sweep that was interrupted behind its second row and resumed."""

    folder: Path
    command: list[str]
    interrupted: bytes
    stdout: str


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    root = tmp_path_factory.mktemp("sweep")
    settings = [*tiny.SETTINGS, *FAST, "refinement.max_iterations=1"]
    options = tiny.options([*settings, *tiny.sources(root / "prompts", **SIZES)])
    command = ["sweep", "demo", "--out", str(root / "out"), *GRID, *options]
    append = sweep.append_jsonl

    def interrupt(path: Path, row: dict[str, Any]) -> None:
        append(path, row)
        if row["id"] == 1:
            raise KeyboardInterrupt

    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        with pytest.MonkeyPatch.context() as once:
            once.setattr(sweep, "append_jsonl", interrupt)
            assert main([*command, "--quiet"]) == 130
        assert "--resume" in err.getvalue().splitlines()[-1]
        interrupted = (root / "out" / "trials.jsonl").read_bytes()
        assert not (root / "out" / "manifest.json").exists()
        assert main([*command, "--resume", "--quiet", "--json"]) == 0, err.getvalue()
    return Swept(root / "out", command, interrupted, out.getvalue())


def test_an_interrupted_sweep_goes_on_behind_its_last_row(swept: Swept) -> None:
    trials = (swept.folder / "trials.jsonl").read_bytes()
    assert swept.interrupted.count(b"\n") == 2
    assert trials.startswith(swept.interrupted)
    rows = [json.loads(line) for line in trials.splitlines()]
    assert [row["id"] for row in rows] == [0, 1, 2, 3]
    assert [tuple(row["settings"].values()) for row in rows] == [(1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0)]


def test_json_is_the_last_line_and_the_manifest_the_last_file(swept: Swept) -> None:
    result = last_line(swept.stdout)
    assert len(swept.stdout.splitlines()) == 1
    assert result["sweep"] == json.loads((swept.folder / "sweep.json").read_text())
    assert Path(result["report"]).is_file()
    assert Path(result["card"]).is_file()
    manifest = json.loads((swept.folder / "manifest.json").read_text())
    assert manifest["model"]["name"] == "demo"
    assert set(manifest["timings"]) == {"prepare", "measure on SELECT", "evaluate on TEST"}
    written = (swept.folder / "manifest.json").stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns <= written for path in swept.folder.rglob("*") if path.is_file())


def test_a_dominated_row_is_not_spent_on_test(swept: Swept) -> None:
    record = last_line(swept.stdout)["sweep"]
    tested = [row["id"] for row in record["rows"] if row["test"]]
    assert 0 < len(tested) < len(record["rows"])
    assert record["best"] in tested


def test_a_finished_sweep_is_shown_again(swept: Swept, capsys: pytest.CaptureFixture[str]) -> None:
    before = (swept.folder / "trials.jsonl").read_bytes()
    assert main([*swept.command, "--resume"]) == 0
    said = capsys.readouterr().out
    for words in ("Top-K", "Alpha", "Refusal", "best by sweep score", "on TEST: refusal", "report:"):
        assert words in said
    estimate = last_line(swept.stdout)["sweep"]["base"]["refusal"]
    assert f"{estimate['count']}/{estimate['n']} = " in said, "no bare rate"
    assert (swept.folder / "trials.jsonl").read_bytes() == before


@pytest.mark.parametrize("width", [30, 80, 140])
def test_the_table_at_any_width(swept: Swept, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    result = last_line(swept.stdout)
    result["sweep"]["rows"][3] |= {"error": "nothing to edit", "refusal": None, "pareto": False}
    screen = Console(width=width, file=io.StringIO(), highlight=False)
    monkeypatch.setattr(sweeping, "stdout", screen)
    sweeping.print_sweep(result)
    assert isinstance(screen.file, io.StringIO)
    said = screen.file.getvalue()
    rows = said.partition("on SELECT;")[0].splitlines()
    assert rows
    assert max(len(line.rstrip()) for line in rows if "nothing to edit" not in line) <= width
    assert "…" not in said, "nothing is cut off"
    assert "nothing to edit" in said
    refusal = result["sweep"]["rows"][0]["refusal"]
    assert f"{refusal['count']}/{refusal['n']} = " in said


def test_the_published_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of the published table, as its card prints them."""
    rows = [published(0, 10, 0.85, 0, 450.3, -0.096), published(1, 50, 1.0, 1, 7190.2, 13.44)]
    record = {"grid": {TOP_K: [10, 50], ALPHA: [0.85, 1.0]}, "rows": rows, "best": 0}
    screen = Console(width=140, file=io.StringIO(), highlight=False)
    screen.print(sweeping._table(record, short=False))
    assert isinstance(screen.file, io.StringIO)
    lines = [" ".join(line.split()) for line in screen.file.getvalue().splitlines()]
    assert lines == [
        "Top-K Alpha Refusal PPL PPL Delta Layers Dirs Ablated KL Score Pareto",
        "10 0.85 0/20 = 0.0 % [0.0, 16.1] 450 -9.6% 10 50 0.031 0.1 *",
        "50 1.00 1/20 = 5.0 % [0.0, 16.1] 7,190 +1,344.0% 10 50 0.031 0.1",
    ]


def published(
    index: int, top_k: int, alpha: float, count: int, perplexity: float, change: float
) -> dict[str, Any]:
    return {
        "id": index,
        "settings": {TOP_K: top_k, ALPHA: alpha},
        "refusal": {"value": count / 20, "low": 0.0, "high": 0.161, "n": 20, "count": count},
        "perplexity": perplexity,
        "perplexity_change": change,
        "layers": 10,
        "directions": 50,
        "drift": {"value": 0.031, "low": 0.02, "high": 0.04},
        "sweep_score": 0.1,
        "pareto": index == 0,
        "error": None,
    }


def test_the_published_preset_is_where_nothing_else_is_given() -> None:
    assert sweeping.base_preset(None, None, None) == PUBLISHED_PRESET
    assert sweeping.base_preset(None, None, [f"{TOP_K}=1"]) is None
    assert sweeping.base_preset(None, Path("own.toml"), None) is None
    assert sweeping.base_preset("single-direction", None, None) == "single-direction"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid", f"{ALPHA}=0.5,2.0"], ALPHA),
        (["--grid", "ablation.alfa=1"], "ablation.alfa"),
        (["--grid", "seed=1,2"], "seed"),
        (["--grid", f"{TOP_K}=1,"], "empty"),
    ],
)
def test_a_bad_grid_loads_nothing_and_leaves_nothing(
    arguments: list[str], words: str, tmp_path: Path, refused: Refused
) -> None:
    message, _ = refused("sweep", tmp_path / "no-such-model", "--out", tmp_path / "out", *arguments)
    assert words in message
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there_leaves_no_folder(tmp_path: Path, refused: Refused) -> None:
    refused("sweep", tmp_path / "no-such-model", "--out", tmp_path / "out", *GRID)
    assert not (tmp_path / "out").exists()


def test_a_folder_is_resumed_with_its_own_grid_only(swept: Swept, refused: Refused) -> None:
    before = (swept.folder / "resolved.toml").read_bytes()
    message, _ = refused(*swept.command, "--grid", "refinement.decay=0.5,1.0", "--resume")
    assert "other settings" in message
    assert (swept.folder / "resolved.toml").read_bytes() == before


def test_a_run_is_no_sweep(swept: Swept, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "saber.json").write_text("{}")
    (tmp_path / "resolved.toml").write_text("seed = 0\n")
    message, _ = refused("sweep", "demo", "--out", tmp_path, "--resume", *GRID)
    assert "not a sweep" in message
    assert (tmp_path / "resolved.toml").read_text() == "seed = 0\n"
