"""Files appear whole or not at all; a run folder is never overwritten and resumes only with its own settings."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from saber.errors import StoreError
from saber.files import replacing_folder
from saber.store import (
    RunFolder,
    append_jsonl,
    atomic_write_bytes,
    read_json,
    read_jsonl,
    read_tensors,
    write_json,
    write_jsonl,
    write_tensors,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full(*args: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(*args: object, **options: object) -> None:
    raise KeyboardInterrupt


def test_json_round_trip_keeps_order_and_ends_with_a_newline(tmp_path: Path) -> None:
    data = {"b": 1, "a": [1.5, None, "é"], "nested": {"z": True}}
    write_json(tmp_path / "deep" / "x.json", data)
    text = (tmp_path / "deep" / "x.json").read_text(encoding="utf-8")
    assert text.startswith('{\n  "b": 1,\n  "a"')
    assert text.endswith("}\n")
    assert read_json(tmp_path / "deep" / "x.json") == data


@pytest.mark.parametrize(
    ("data", "place"),
    [({"layers": [{"fdr": 1.0}, {"fdr": float("nan")}]}, r"layers\.1\.fdr"), (float("inf"), "the top")],
)
def test_a_number_that_is_not_finite_is_refused_by_place(data: object, place: str, tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises(StoreError, match=f"the value at {place} is not a finite number"):
        write_json(tmp_path / "x.json", data)
    assert read_json(tmp_path / "x.json") == {"old": 1}
    assert names(tmp_path) == ["x.json"]


def test_unreadable_json(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff{")
    with pytest.raises(StoreError, match="not valid JSON"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("stop", "seen", "where"),
    [(full, StoreError, "fsync"), (full, StoreError, "replace"), (interrupted, KeyboardInterrupt, "fsync")],
)
def test_a_write_that_stops_leaves_the_old_file_and_nothing_else(
    stop: Callable[..., None],
    seen: type[BaseException],
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    atomic_write_bytes(tmp_path / "x", b"old")
    monkeypatch.setattr(os, where, stop)
    for write in (
        lambda: atomic_write_bytes(tmp_path / "x", b"new"),
        lambda: write_text(tmp_path / "x", "new"),
        lambda: write_tensors(tmp_path / "x", {"a": torch.ones(3)}),
        lambda: write_jsonl(tmp_path / "x", [1, 2]),
    ):
        with pytest.raises(seen) as error:
            write()
        if seen is StoreError:
            assert "no space left" in str(error.value)
            assert "--out" in error.value.hint
    monkeypatch.undo()
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_safetensors_own_word_for_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*args: object, **options: object) -> None:
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", save)
    with pytest.raises(StoreError, match="no space left"):
        write_tensors(tmp_path / "x", {"a": torch.ones(3)})
    assert names(tmp_path) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "out") as partial:
        (partial / "sub").mkdir()
        (partial / "sub" / "x").write_text("x")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "sub" / "x").read_text() == "x"
    with pytest.raises(StoreError, match="not empty"), replacing_folder(tmp_path / "out"):
        pass
    for stop, seen in ((full, StoreError), (interrupted, KeyboardInterrupt)):
        with pytest.raises(seen), replacing_folder(tmp_path / "other") as partial:
            stop((partial / "x").write_text("x"))
    assert names(tmp_path) == ["out"]


def test_tensors_round_trip(tmp_path: Path) -> None:
    shared = torch.randn(4)
    tensors = {
        "a": torch.randn(3, 4).T,
        "b": torch.ones(2, dtype=torch.bfloat16),
        "c": shared,
        "d": shared[1:3],
    }
    write_tensors(tmp_path / "x.safetensors", tensors, {"key": "value"})
    found, metadata = read_tensors(tmp_path / "x.safetensors")
    assert metadata == {"key": "value"}
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    with pytest.raises(StoreError, match="does not exist"):
        read_tensors(tmp_path / "y.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"12345678abc")
    with pytest.raises(StoreError, match="corrupt"):
        read_tensors(tmp_path / "x.safetensors")


def test_same_tensors_same_bytes(tmp_path: Path) -> None:
    metadata = {key: key for key in "dacb"}
    tensors = {name: torch.ones(2) for name in ("b", "a", "ü")}
    for place in range(4):
        write_tensors(tmp_path / str(place), tensors, metadata)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    found, read = read_tensors(tmp_path / "0")
    assert read == metadata
    assert set(found) == set(tensors)


def test_lines_survive_an_interrupt(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert read_jsonl(path) == []
    write_jsonl(path, [{"n": 1}])
    append_jsonl(path, {"n": 2})
    with path.open("a") as file:
        file.write('{"n": 3, "te')
    assert read_jsonl(path) == [{"n": 1}, {"n": 2}]
    append_jsonl(path, {"n": 4})
    assert read_jsonl(path) == [{"n": 1}, {"n": 2}, {"n": 4}]
    append_jsonl(tmp_path / "new" / "rows.jsonl", {"text": "a\nb"})
    assert read_jsonl(tmp_path / "new" / "rows.jsonl") == [{"text": "a\nb"}]
    path.write_text('{"n": 1}\nnonsense\n')
    with pytest.raises(StoreError, match="line 2"):
        read_jsonl(path)


def test_appending_to_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="no space left"):
        append_jsonl(tmp_path / "rows.jsonl", {"n": 1})


def test_a_run_folder_is_new_resumed_or_refused(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "runs" / "a")
    assert not run.finished
    with pytest.raises(StoreError, match="an unfinished run") as error:
        RunFolder.create(run.path)
    assert "--resume" in error.value.hint
    assert RunFolder.create(run.path, resume=True) == run
    write_json(run.manifest, {})
    assert run.finished
    with pytest.raises(StoreError, match="a finished run"):
        RunFolder.create(run.path)
    assert RunFolder.open(run.path) == run
    (tmp_path / "mine").mkdir()
    assert RunFolder.create(tmp_path / "mine", resume=True).path.name == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").write_text("mine")
    for resume in (False, True):
        with pytest.raises(StoreError, match="not a SABER run"):
            RunFolder.create(tmp_path / "other", resume=resume)
        with pytest.raises(StoreError, match="is a file"):
            RunFolder.create(tmp_path / "other" / "thesis.doc", resume=resume)
    assert names(tmp_path / "other") == ["thesis.doc"]


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for write in (
        lambda: RunFolder.create(tmp_path / "file" / "run"),
        lambda: write_json(tmp_path / "file" / "a" / "x.json", 1),
        lambda: append_jsonl(tmp_path / "file" / "x.jsonl", 1),
        lambda: replacing_folder(tmp_path / "file" / "out").__enter__(),
    ):
        with pytest.raises(StoreError, match="cannot write"):
            write()


def test_opening_what_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a SABER run"):
        RunFolder.open(tmp_path)
    with pytest.raises(StoreError, match="does not exist"):
        RunFolder.open(tmp_path / "nowhere")


def test_file_names_are_those_of_the_interface(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    paths = [
        run.run_toml, run.resolved_toml, run.manifest, run.spectrum, run.entanglement, run.plan, run.edit_tensors,
        run.edit_record, run.evaluation, run.trials, run.front, run.plots, run.report, run.card, run.checkpoint,
        run.adapter, run.answers,
    ]  # fmt: skip
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "run.toml", "resolved.toml", "manifest.json", "spectrum.json", "entanglement.json", "plan.json",
        "edit.safetensors", "edit.json", "evaluation.json", "trials.jsonl", "front.json", "plots", "report.html",
        "README.md", "checkpoint", "adapter", "answers.jsonl",
    ]  # fmt: skip


def test_state_resumes_only_with_its_own_settings(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    assert not run.has_state("probe")
    run.save_state("probe", {"n": 3}, settings="aa")
    run.save_state_tensors("means", {"h": torch.ones(2)}, settings="aa")
    assert run.has_state("probe")
    assert run.has_state("means")
    assert run.load_state("probe", settings="aa") == {"n": 3}
    assert torch.equal(run.load_state_tensors("means", settings="aa")["h"], torch.ones(2))
    for load in (run.load_state, run.load_state_tensors):
        with pytest.raises(StoreError, match="does not exist"):
            load("nothing", settings="aa")
    with pytest.raises(StoreError, match="started with other settings"):
        run.load_state("probe", settings="bb")
    with pytest.raises(StoreError, match="started with other settings"):
        run.load_state_tensors("means", settings="bb")
    run.state_path("probe").write_text(json.dumps([1]))
    with pytest.raises(StoreError, match="other settings"):
        run.load_state("probe", settings="aa")


def test_importing_the_store_loads_no_torch() -> None:
    code = "import sys, saber.store; sys.exit('torch' in sys.modules or 'safetensors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
