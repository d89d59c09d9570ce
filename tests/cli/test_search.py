"""`saber search`: a whole one that was interrupted and resumed, its files, and its points as models."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from saber.cli import main
from saber.search import panel
from tests import tiny
from tests.cli.conftest import Refused, last_line

WEIGHTS = "model.safetensors"
FAST = (
    "entanglement.prompts=6",
    "entanglement.draws=1",
    "entanglement.damage_units=0",
    "prompts.test_share=0.1",
    "spectrum.permutations=4",
    "spectrum.bootstraps=2",
    "evaluation.max_new_tokens=8",
    "search.points=4",
    "search.keep=0.5",  # eight refusals, all kept, prove 74.7 %
    "search.keep_weights=[1.0]",
)


@dataclass(frozen=True)
class Searched:
    """A search that was interrupted when its first candidates were measured, and resumed."""

    folder: Path
    command: list[str]
    interrupted: bytes
    stdout: str

    @property
    def result(self) -> dict[str, Any]:
        return last_line(self.stdout)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    root = tmp_path_factory.mktemp("search")
    sizes = {"harmful": 50, "harmless": 50, "capability": 20, "borderline": 6, "preserve": 40}
    settings = tiny.options([*tiny.SETTINGS, *FAST, *tiny.sources(root / "prompts", **sizes)])
    command = ["search", "demo", "--out", str(root / "out"), "--export", "none", *settings]
    append = panel.append_jsonl

    def interrupt(path: Path, row: dict[str, Any]) -> None:
        append(path, row)
        raise KeyboardInterrupt

    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        with pytest.MonkeyPatch.context() as once:
            once.setattr(panel, "append_jsonl", interrupt)
            assert main([*command, "--quiet"]) == 130
        assert "--resume" in err.getvalue().splitlines()[-1]
        (kept,) = (root / "out" / "state").glob("measured-*.jsonl")
        interrupted = kept.read_bytes()
        assert not (root / "out" / "manifest.json").exists()
        assert main([*command, "--resume", "--quiet", "--json"]) == 0, err.getvalue()
    return Searched(root / "out", command, interrupted, out.getvalue())


def test_an_interrupted_search_keeps_what_was_measured(search: Searched) -> None:
    (kept,) = (search.folder / "state").glob("measured-*.jsonl")
    assert search.interrupted.count(b"\n") == 1
    assert kept.read_bytes().startswith(search.interrupted)
    assert search.result["front"]["counts"]["resumed"] > 0


def test_json_is_the_last_line_and_the_manifest_the_last_file(search: Searched) -> None:
    result, folder = search.result, search.folder
    assert len(search.stdout.splitlines()) == 1
    assert result["front"] == json.loads((folder / "front.json").read_text())
    assert result["evaluation"] == json.loads((folder / "evaluation.json").read_text())
    for name in ("report", "card"):
        assert Path(result[name]).is_file()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["model"]["name"] == "demo"
    assert "export" not in manifest
    written = (folder / "manifest.json").stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns <= written for path in folder.rglob("*") if path.is_file())


def test_a_finished_search_is_shown_again(search: Searched, capsys: pytest.CaptureFixture[str]) -> None:
    before = (search.folder / "front.json").read_bytes()
    assert main([*search.command, "--resume"]) == 0
    said = capsys.readouterr().out
    chosen = search.result["front"]["recommended"]["point"]
    for words in (f"recommended: point {chosen}. ", "on TEST: refused harmful", "report:", "saber export"):
        assert words in said
    assert (search.folder / "front.json").read_bytes() == before


def test_a_finished_search_is_not_gone_on_with(search: Searched, refused: Refused) -> None:
    message, _ = refused(*search.command, "--resume", "--points", "9")
    assert "search.points = 4, now 9" in message


def test_report_builds_again(search: Searched, capsys: pytest.CaptureFixture[str]) -> None:
    page, card = (search.folder / name for name in ("report.html", "README.md"))
    manifest = (search.folder / "manifest.json").read_bytes()
    assert main(["report", str(search.folder), "--json"]) == 0
    assert last_line(capsys.readouterr().out)["report"] == str(page)
    first = [file.read_bytes() for file in (page, card)]
    assert main(["report", str(search.folder)]) == 0
    assert [file.read_bytes() for file in (page, card)] == first
    assert "saber export RUN --point" in card.read_text()
    assert (search.folder / "manifest.json").read_bytes() == manifest


def test_the_recommended_point_is_the_folders_edit(search: Searched, tmp_path: Path) -> None:
    chosen = search.result["front"]["recommended"]
    assert chosen["feasible"]
    command = ["export", str(search.folder), "--json", "--out"]
    assert main([*command, str(tmp_path / "edit")]) == 0
    assert main([*command, str(tmp_path / "point"), "--point", str(chosen["point"])]) == 0
    weights = [(tmp_path / name / WEIGHTS).read_bytes() for name in ("edit", "point")]
    assert weights[0] == weights[1]
    cards = [(tmp_path / name / "README.md").read_text() for name in ("edit", "point")]
    assert cards[0] == cards[1]
    assert f"with point {chosen['point']} of a" in " ".join(cards[0].split())


def test_another_point_is_another_model(
    search: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    front = search.result["front"]
    other = next(row["id"] for row in front["points"] if row["id"] != front["recommended"]["point"])
    out = tmp_path / "adapter"
    command = ["export", str(search.folder), "--point", str(other), "--format", "adapter", "--out", str(out)]
    assert main(command) == 0
    record = json.loads((out / "saber_edit.json").read_text())
    assert record["edit_sha256"] != json.loads((search.folder / "edit.json").read_text())["edit_sha256"]
    assert main(["verify", str(out), "--json"]) == 0
    assert last_line(capsys.readouterr().out)["ok"]


@pytest.mark.parametrize(("number", "words"), [("99", "no point 99"), ("-1", "no point -1")])
def test_a_point_that_is_not_there(
    number: str, words: str, search: Searched, tmp_path: Path, refused: Refused
) -> None:
    message, _ = refused("export", search.folder, "--point", number, "--out", tmp_path / "model")
    assert words in message
    assert not (tmp_path / "model").exists()


def test_without_a_feasible_point_nothing_is_exported_unasked(
    search: Searched, tmp_path: Path, refused: Refused
) -> None:
    front = search.result["front"]
    front["recommended"] |= {"feasible": False, "why": "Nothing could be proved."}
    (tmp_path / "front.json").write_text(json.dumps(front))
    for name in ("manifest.json", "resolved.toml"):
        (tmp_path / name).write_bytes((search.folder / name).read_bytes())
    message, hint = refused("export", tmp_path, "--out", tmp_path / "model")
    assert "recommends no point: Nothing could be proved." in message
    assert "--point N" in hint
    assert not (tmp_path / "model").exists()


def test_points_are_of_searches(tmp_path: Path, search: Searched, refused: Refused) -> None:
    for name, words in (("sweep.json", "holds a sweep"), ("evaluation.json", "holds no search")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "manifest.json").write_bytes((search.folder / "manifest.json").read_bytes())
        (folder / name).write_text("{}")
        message, _ = refused("export", folder, "--point", "1", "--out", tmp_path / "model")
        assert words in message
    assert not (tmp_path / "model").exists()
