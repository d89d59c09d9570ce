"""Commands that do what they say, over one finished run."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from saber import __version__
from saber.cli import main
from saber.config import RunConfig
from saber.export.edit_file import RECORD
from saber.organism import demo_path
from saber.settings import presets, resolve
from tests.cli.conftest import Refused, Run, last_line

WEIGHTS = "model.safetensors"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_json_is_the_last_line_and_quiet_is_silent(run: Run) -> None:
    result = last_line(run.stdout)
    assert result["evaluation"] == json.loads((run.folder / "evaluation.json").read_text())
    assert result["run"] == str(run.folder)
    assert Path(result["report"]).is_file()
    assert len(run.stdout.splitlines()) == 1
    assert run.stderr == ""


def test_a_finished_run_is_summed_up_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "demo", "--out", str(run.folder), "--resume", *run.options]) == 0
    said = capsys.readouterr().out
    for words in ("refused: harmful", "refused: preserve", "correct: all", "drift: KL", "report:"):
        assert words in said
    estimate = json.loads((run.folder / "evaluation.json").read_text())["base"]["refusal"]["harmful"]
    assert f"{estimate['count']}/{estimate['n']} = " in said, "no bare rate"


def test_report_builds_again(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = Path(shutil.copytree(run.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoint")))
    page, card = (copy / name for name in ("report.html", "README.md"))
    page.unlink()
    card.unlink()
    assert main(["report", str(copy), "--json"]) == 0
    assert last_line(capsys.readouterr().out)["report"] == str(page)
    first = [file.read_bytes() for file in (page, card)]
    assert all(len(text) > 1000 for text in first)
    assert main(["report", str(copy)]) == 0
    assert [file.read_bytes() for file in (page, card)] == first


def test_export_and_apply_write_the_same_model_as_the_run(run: Run, tmp_path: Path) -> None:
    edited = (run.folder / "checkpoint" / WEIGHTS).read_bytes()
    assert edited != (demo_path() / WEIGHTS).read_bytes()
    assert main(["export", str(run.folder), "--out", str(tmp_path / "exported"), "--json"]) == 0
    assert main(["apply", str(run.folder), "demo", "--out", str(tmp_path / "applied"), "--json"]) == 0
    for name in ("exported", "applied"):
        assert (tmp_path / name / WEIGHTS).read_bytes() == edited, name
        assert (tmp_path / name / "README.md").is_file(), "an edited model has a card"


def test_adapter(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "adapter"
    assert main(["export", str(run.folder), "--format", "adapter", "--out", str(out)]) == 0
    assert (out / "adapter_model.safetensors").is_file()
    assert (out / "adapter_config.json").is_file()
    capsys.readouterr()
    assert main(["verify", str(out), "--json"]) == 0
    result = last_line(capsys.readouterr().out)
    assert result["ok"]
    assert {row["check"] for row in result["checks"]} >= {"hashes", "base", "certificate", "reload"}


def test_verify_finds_one_flipped_byte(run: Run, tmp_path: Path, refused: Refused) -> None:
    copy = Path(shutil.copytree(run.folder / "checkpoint", tmp_path / "copy"))
    assert main(["verify", str(copy)]) == 0
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    message, _ = refused("verify", copy, "--json")
    assert "hashes" in message


def test_undo_gives_back_every_byte(run: Run, tmp_path: Path) -> None:
    assert main(["undo", str(run.folder / "checkpoint"), "--out", str(tmp_path / "base"), "--json"]) == 0
    assert contents(tmp_path / "base") == contents(demo_path())


def test_probe_edits_nothing(
    options: list[str], tmp_path: Path, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "probe"
    assert main(["probe", "demo", "--out", str(out), "--json", "--quiet", *options]) == 0
    result = last_line(capsys.readouterr().out)
    assert result["ranked"]
    assert all(Path(path).is_file() for path in result["plots"])
    known = {row["name"] for row in result["spectrum"]["passes"][0]["directions"]}
    assert set(result["ranked"]) <= known == set(result["entanglement"]["directions"])
    assert not any((out / name).exists() for name in ("edit.safetensors", "evaluation.json", "checkpoint"))
    for command in (("report", out), ("export", out, "--out", tmp_path / "model")):
        message, _ = refused(*command)
        assert "does not exist" in message
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("preset", [None, *presets()])
def test_config_prints_toml_that_runs(preset: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", *(["--preset", preset] if preset else [])]) == 0
    said = capsys.readouterr().out
    assert RunConfig.model_validate(tomllib.loads(said)) == resolve(preset=preset)[0]
    assert all("  # " in line for line in said.splitlines() if line.count(" = ") == 1 and "seed" not in line)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"saber {__version__}\n"
    assert main([]) == 0
    said = capsys.readouterr().out
    for command in ("run", "probe", "coverage", "apply", "undo", "export", "verify", "report", "config"):
        assert f"  {command} " in said


def test_the_record_travels_with_the_model(run: Run) -> None:
    record = json.loads((run.folder / "checkpoint" / RECORD).read_text())
    assert record["edit_sha256"] == json.loads((run.folder / "edit.json").read_text())["edit_sha256"]
