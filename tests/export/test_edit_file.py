"""A saved edit comes back as it was, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saber.ablation.apply import certify
from saber.errors import EditError
from saber.export.edit_file import certificates_of, load_edit, save_edit, sealed
from saber.store import RunFolder
from tests.export.exported import Base


@pytest.fixture
def saved(base: Callable[..., Base], tmp_path: Path) -> tuple[Base, RunFolder]:
    made = base("gemma4_moe")
    run = RunFolder.create(tmp_path / "run")
    rows = certify(made.chat.model, made.anatomy, made.edits)
    save_edit(run.edit_tensors, run.edit_record, made.edits, rows, {"base_name": "pico", "alpha": 1.0})
    return made, run


def test_round_trip(saved: tuple[Base, RunFolder]) -> None:
    made, run = saved
    for path in (run.path, run.edit_record, run.edit_tensors):
        loaded, record = load_edit(path)
        assert loaded.sha256 == made.edits.sha256
        assert loaded.base_sha256 == made.edits.base_sha256
        assert record["meta"] == {"base_name": "pico", "alpha": 1.0}
        assert certificates_of(record) == certify(made.chat.model, made.anatomy, made.edits)
        for name, edit in made.edits.edits.items():
            for part in ("left", "right", "read", "directions"):
                assert torch.equal(getattr(loaded.edits[name], part), getattr(edit, part))


def test_same_edit_same_bytes(saved: tuple[Base, RunFolder], tmp_path: Path) -> None:
    made, run = saved
    rows = certify(made.chat.model, made.anatomy, made.edits)
    meta = {"base_name": "pico", "alpha": 1.0}
    save_edit(tmp_path / "e.safetensors", tmp_path / "e.json", made.edits, rows, meta)
    assert (tmp_path / "e.safetensors").read_bytes() == run.edit_tensors.read_bytes()
    assert (tmp_path / "e.json").read_bytes() == run.edit_record.read_bytes()


def test_a_flipped_byte_is_found(saved: tuple[Base, RunFolder]) -> None:
    _, run = saved
    data = bytearray(run.edit_tensors.read_bytes())
    data[-1] ^= 1
    run.edit_tensors.write_bytes(data)
    with pytest.raises(EditError, match="is not the file"):
        load_edit(run.path)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("edit_sha256", "0" * 64, "holds edit"),
        ("base_sha256", "0" * 64, "holds edit"),
        ("format", 99, "has format 99"),
        ("writers", None, "it lacks writers"),
        ("writers", {"model.ghost": {"rank": 2}}, "corrupt"),
    ],
)
def test_a_record_that_does_not_match_is_refused(
    saved: tuple[Base, RunFolder], key: str, value: object, match: str
) -> None:
    _, run = saved
    record = json.loads(run.edit_record.read_text())
    record.pop(key)
    if value is not None:
        record[key] = value
    run.edit_record.write_text(json.dumps(sealed(record)))
    with pytest.raises(EditError, match=match):
        load_edit(run.path)


def test_missing_or_unreadable_files_are_refused(saved: tuple[Base, RunFolder], tmp_path: Path) -> None:
    _, run = saved
    with pytest.raises(EditError, match="does not exist"):
        load_edit(tmp_path / "nowhere")
    run.edit_tensors.unlink()
    with pytest.raises(EditError, match="does not exist"):
        load_edit(run.path)
    run.edit_record.write_text("{")
    with pytest.raises(EditError, match="not valid JSON"):
        load_edit(run.path)
