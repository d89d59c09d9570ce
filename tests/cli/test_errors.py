"""What the user can fix: exit code 2, two lines, and nothing half-written."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from saber.cli import main
from tests import pico, tiny
from tests.cli.conftest import Refused, Run


@pytest.fixture
def folder(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A private copy of the pico Llama."""
    return Path(shutil.copytree(checkpoints["llama"], tmp_path / "model"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_model_not_found(refused: Refused, out: Path) -> None:
    message, hint = refused("run", "./no/such/model", "--out", out, "--quiet")
    assert "./no/such/model" in message
    assert "demo" in hint
    assert not out.exists()


def test_not_a_chat_model(folder: Path, refused: Refused, out: Path) -> None:
    for file in folder.glob("chat_template*"):
        file.unlink()
    message, hint = refused("run", folder, "--out", out, "--quiet")
    assert "not a chat model" in message
    assert "-it" in hint
    assert not out.exists()


@pytest.mark.parametrize(("text", "words"), [("", "no prompts"), ("# only a comment\n\n", "no prompts")])
def test_empty_prompt_file(text: str, words: str, tmp_path: Path, refused: Refused, out: Path) -> None:
    file = tmp_path / "harmful.txt"
    file.write_text(text)
    message, _ = refused("run", "demo", "--out", out, "--harmful", file)
    assert words in message
    assert str(file) in message
    assert not out.exists()


def test_prompts_of_one_class(folder: Path, options: list[str], refused: Refused, out: Path) -> None:
    """A random model never refuses: nothing to tell apart, and keeping all prompts does not help either."""
    message, hint = refused("run", folder, "--out", out, "--quiet", *options)
    assert "harmful PROBE prompts is refused by the base model" in message
    assert "prompts.behaviour_filter=false" in hint
    options = [*options, "--set", "prompts.behaviour_filter=false"]
    message, _ = refused("run", folder, "--out", out, "--quiet", *options)
    assert "0 are refusals" in message
    assert not out.exists()


def test_overlapping_roles(tmp_path: Path, refused: Refused, out: Path) -> None:
    file = tiny.write_rows(tmp_path / "both.jsonl", tiny.spread("harmful", 30))
    message, _ = refused("run", "demo", "--out", out, "--harmful", file, "--harmless", file)
    assert "harmful" in message
    assert "harmless" in message
    assert not out.exists()


def test_too_few_prompts(tmp_path: Path, options: list[str], refused: Refused, out: Path) -> None:
    file = tiny.write_rows(tmp_path / "few.jsonl", tiny.spread("harmful", 12))
    message, hint = refused("run", "demo", "--out", out, "--quiet", *options, "--harmful", file)
    assert "folds" in message
    assert "spectrum.folds" in hint
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words", "fix"),
    [
        (("--set", "ablation.alpha_bas=1"), "'ablation.alpha_bas'", "'ablation.alpha_base'"),
        (("--set", "ablation.alpha_base=7"), "7", "saber config"),
        (("--set", "nonsense"), "'nonsense'", "--set ablation.alpha_base=0.8"),
        (("--preset", "gemma4-e4b"), "'gemma4-e4b'", "gemma4-e4b-balanced"),
        (("--config", "none.toml"), "none.toml", "--config"),
        (("--batch-size", "many"), "many", "saber config"),
        (("--export", "gguf"), "gguf", "saber config"),
        (("--device", "cuda:99", "--quiet"), "cuda:99", "--device"),
        (("--harmful", "none.jsonl"), "none.jsonl", "builtin"),
    ],
)
def test_bad_settings(arguments: tuple[str, ...], words: str, fix: str, refused: Refused, out: Path) -> None:
    message, hint = refused("run", "demo", "--out", out, *arguments)
    assert words in message
    assert fix in hint
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("fly",),
        ("run", "demo", "--nonsense"),
        ("apply", "somewhere"),
        ("run", "demo", "--seed", "x"),
    ],
)
def test_bad_command_lines(arguments: tuple[str, ...], refused: Refused) -> None:
    _, hint = refused(*arguments)
    assert "--help" in hint


def test_a_folder_that_is_not_empty_is_left_alone(
    run: Run, tmp_path: Path, refused: Refused, out: Path
) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    checkpoint = run.folder / "checkpoint"
    for command in (
        ("run", "demo"),
        ("probe", "demo"),
        ("export", run.folder),
        ("apply", run.folder, "demo"),
        ("undo", checkpoint),
    ):
        message, hint = refused(*command, "--out", out)
        assert "not empty" in message
        assert "--out" in hint
        assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_finished_run_is_not_overwritten(run: Run, refused: Refused) -> None:
    before = (run.folder / "manifest.json").read_bytes()
    message, hint = refused("run", "demo", "--out", run.folder, *run.options)
    assert "finished run" in message
    assert "--resume" in hint
    assert (run.folder / "manifest.json").read_bytes() == before


def test_corrupt_shard(folder: Path, refused: Refused, out: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    message, hint = refused("run", folder, "--out", out, "--quiet")
    assert "corrupt" in message
    assert "Download" in hint
    assert not out.exists()


def test_activations_that_overflow(tmp_path: Path, options: list[str], refused: Refused, out: Path) -> None:
    model = pico.model("llama")
    for name, parameter in model.named_parameters():
        if ".mlp." in name:
            parameter.data.mul_(1e4 / parameter.abs().max())
    model.save_pretrained(tmp_path / "huge")
    pico.tokenizer().save_pretrained(tmp_path / "huge")
    command = ("run", tmp_path / "huge", "--out", out, "--quiet", *options)
    message, hint = refused(*command, "--dtype", "float16")
    assert "not numbers" in message
    assert "float16" in message
    assert "--dtype bfloat16" in hint
    message, _ = refused(*command, "--dtype", "bfloat16")
    assert "not numbers" not in message, "the hint helps"
    assert not out.exists()


def test_too_little_space(run: Run, refused: Refused, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    for command in (("export", run.folder), ("apply", run.folder, "demo")):
        message, hint = refused(*command, "--out", out, "--json")
        assert "GB free" in message
        assert "--out" in hint
        assert not out.exists()


@pytest.mark.parametrize("name", ["saber_edit.safetensors", "model.safetensors"])
def test_the_disk_runs_full(
    name: str, run: Run, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        if name in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("saber.files.sync", full)
    message, hint = refused("export", run.folder, "--out", tmp_path / "out", "--json")
    assert "no space left" in message
    assert "--out" in hint
    assert list(tmp_path.iterdir()) == []


def test_an_edit_fits_its_own_base_once(
    run: Run, checkpoints: dict[str, Path], refused: Refused, out: Path
) -> None:
    message, hint = refused("apply", run.folder, run.folder / "checkpoint", "--out", out, "--json")
    assert "twice" in message
    assert "saber undo" in hint
    refused("apply", run.folder, checkpoints["llama"], "--out", out, "--json")
    message, hint = refused("apply", run.folder, checkpoints["gemma4"], "--out", out, "--json")
    assert "base" in message + hint
    assert not out.exists()


def test_a_damaged_edit_is_refused(run: Run, tmp_path: Path, refused: Refused, out: Path) -> None:
    for name in ("edit.json", "edit.safetensors"):
        shutil.copy(run.folder / name, tmp_path / name)
    data = bytearray((tmp_path / "edit.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "edit.safetensors").write_bytes(data)
    message, _ = refused("apply", tmp_path / "edit.json", "demo", "--out", out, "--json")
    assert "edit.safetensors" in message
    assert not out.exists()


@pytest.mark.parametrize("kind", ["missing", "other", "unfinished"])
def test_wrong_run_folder(kind: str, tmp_path: Path, refused: Refused, out: Path, run: Run) -> None:
    folder = tmp_path / "folder"
    if kind == "other":
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
    elif kind == "unfinished":
        shutil.copytree(run.folder, folder)
        (folder / "manifest.json").unlink()
    for command in (("report", folder), ("export", folder, "--out", out)):
        message, hint = refused(*command)
        assert str(folder) in message
        assert "saber run" in hint
    refused("verify", folder)
    assert not out.exists()


def test_bad_format(run: Run, refused: Refused, out: Path) -> None:
    message, hint = refused("export", run.folder, "--format", "onnx", "--out", out)
    assert "onnx" in message
    assert "adapter" in hint
    assert not out.exists()


def test_a_bug_is_not_hidden(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the user can fix becomes two lines."""

    def broken(*a: object, **k: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("saber.pipeline.bench.load", broken)
    with pytest.raises(ZeroDivisionError):
        main(["run", "demo", "--out", str(out), "--quiet"])


def test_out_of_memory(refused: Refused, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*a: object, **k: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("saber.pipeline.bench.load", full)
    message, hint = refused("run", "demo", "--out", out, "--quiet")
    assert "out of memory" in message
    assert "--batch-size" in hint


def test_a_pickle_is_not_loaded_unasked(folder: Path, refused: Refused, out: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(pico.model("llama").state_dict(), folder / "pytorch_model.bin")
    message, hint = refused("run", folder, "--out", out, "--quiet")
    assert "no .safetensors" in message
    assert "model.allow_pickle=true" in hint
    assert json.loads((folder / "config.json").read_text())
    assert not out.exists()
    allowed = ("--set", "model.allow_pickle=true")
    message, hint = refused("run", folder, "--out", out, "--quiet", *allowed)
    assert "pickle files, and SABER edits safetensors" in message
    assert "--export adapter" in hint
    assert not out.exists()
