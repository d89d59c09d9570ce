"""An exported checkpoint is the edit, exactly, and nothing else; whatever stops it leaves nothing behind."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import saber.export.checkpoint as checkpoint_module
from saber.ablation.apply import InPlace, applied, certify, edited_weight
from saber.ablation.edit import EditSet
from saber.errors import EditError, ExportError, StoreError
from saber.export.apply import anatomy_of, apply_edit
from saber.export.checkpoint import export_checkpoint
from saber.export.compare import compare_with_memory
from saber.export.edit_file import RECORD, TENSORS, UNDO, load_edit
from saber.export.shards import places, read_tensor
from saber.export.undo import undo
from tests.export.exported import FAMILIES, PROMPTS, Base, contents, edit_all, leftovers, logits, reload

F32, BF16 = torch.float32, torch.bfloat16
CASES = [
    *((family, F32) for family in FAMILIES),
    *((family, BF16) for family in ("llama", "gemma3_mm", "gemma4", "gemma4_moe")),
]
Base_ = Callable[..., Base]
Folder = Callable[..., Path]


@pytest.mark.parametrize("family", FAMILIES)
def test_hooks_in_place_and_reloaded_checkpoint_give_the_same_logits(
    family: str, base: Base_, checkpoint: Folder
) -> None:
    made = base(family)
    plain = logits(made.chat)
    with applied(made.chat.model, made.anatomy, made.edits):
        hooked = logits(made.chat)
    in_place = InPlace(made.chat.model, made.anatomy, made.edits)
    written = logits(made.chat)
    in_place.undo()
    reloaded = logits(reload(checkpoint(family)))
    assert (plain - hooked).abs().max() > 0.05
    assert (hooked - written).abs().max() <= 1e-4
    assert (reloaded - written).abs().max() <= 1e-4


@pytest.mark.parametrize(("family", "dtype"), [case for case in CASES if case[1] == BF16])
def test_a_bfloat16_checkpoint_is_the_edit_rounded_once(
    family: str, dtype: torch.dtype, base: Base_, checkpoint: Folder
) -> None:
    made = base(family, dtype)
    gap = compare_with_memory(made.chat, made.anatomy, made.edits, checkpoint(family, dtype), PROMPTS)
    assert gap.in_place <= 1e-4
    assert 1e-4 < gap.hooks < gap.scale


@pytest.mark.parametrize(("family", "dtype"), CASES)
def test_only_edited_tensors_change_and_every_file_is_kept(
    family: str, dtype: torch.dtype, base: Base_, checkpoint: Folder
) -> None:
    made, out = base(family, dtype), checkpoint(family, dtype)
    record = json.loads((out / RECORD).read_text())
    touched = {row["key"]: name for name, row in record["export"]["tensors"].items()}
    assert set(touched.values()) == set(made.edits.edits)
    before, after = places(made.folder), places(out)
    assert before == after
    axes = {writer.name: writer.axis for writer in made.anatomy.writers}
    for key, place in before.items():
        old, new = read_tensor(made.folder, place), read_tensor(out, place)
        if key in touched:
            old = edited_weight(old, made.edits.edits[touched[key]], axes[touched[key]])
        assert torch.equal(old, new), key
    old_files, new_files = contents(made.folder), contents(out)
    shards = {before[key].file for key in touched}
    for name, data in old_files.items():
        if name in shards:
            length = 8 + int.from_bytes(data[:8], "little")
            assert new_files[name][:length] == data[:length]
        else:
            assert new_files["README.base.md" if name == "README.md" else name] == data
    assert set(new_files) - set(old_files) == {"README.base.md", RECORD, TENSORS, UNDO}
    assert new_files["README.md"] == b"# Edited\n"


@pytest.mark.parametrize(("family", "dtype"), CASES)
def test_undo_brings_the_base_back_bit_for_bit(
    family: str, dtype: torch.dtype, base: Base_, checkpoint: Folder, tmp_path: Path
) -> None:
    undo(checkpoint(family, dtype), tmp_path / "base")
    assert contents(tmp_path / "base") == contents(base(family, dtype).folder)
    assert leftovers(tmp_path) == ["base"]


def test_small_chunks_give_the_same_bytes(
    base: Base_, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = base("gemma4_moe", BF16)
    export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "whole")
    monkeypatch.setattr(checkpoint_module, "CHUNK", 1000)
    export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "chunks")
    undo(tmp_path / "chunks", tmp_path / "undone")
    whole, chunks = contents(tmp_path / "whole"), contents(tmp_path / "chunks")
    assert contents(tmp_path / "undone") == contents(made.folder)
    assert whole["model.safetensors"] == chunks["model.safetensors"]


def test_certificates_are_measured_on_what_lies_on_disk(base: Base_, checkpoint: Folder) -> None:
    made = base("gemma4_moe")
    wanted = {row.writer: row for row in certify(made.chat.model, made.anatomy, made.edits)}
    for row in json.loads((checkpoint("gemma4_moe") / RECORD).read_text())["certificates"]:
        for name, value in dataclasses.asdict(wanted[row["writer"]]).items():
            assert row[name] == (value if isinstance(value, str) else pytest.approx(value, abs=1e-5))


def test_the_edit_inside_an_export_applies_to_the_base_again(
    base: Base_, checkpoint: Folder, tmp_path: Path
) -> None:
    made, out = base("gemma4_mm"), checkpoint("gemma4_mm")
    loaded, record = load_edit(out)
    assert loaded.sha256 == made.edits.sha256
    assert anatomy_of(made.folder) == made.anatomy
    seen: list[tuple[int, int]] = []
    report = apply_edit(
        out,
        made.folder,
        tmp_path / "again",
        extra_files={"README.md": "# Edited\n"},
        progress=lambda *n: seen.append(n),
    )
    assert contents(tmp_path / "again") == contents(out)
    assert seen[-1] == (len(seen), len(seen))
    assert report.edit_sha256 == record["edit_sha256"]


def test_an_edit_applied_twice_is_refused(base: Base_, checkpoint: Folder, tmp_path: Path) -> None:
    made = base("llama")
    with pytest.raises(EditError, match="twice"):
        export_checkpoint(checkpoint("llama"), made.edits, made.anatomy, tmp_path / "out")
    bare = shutil.copytree(checkpoint("llama"), tmp_path / "bare")
    (bare / RECORD).unlink()
    with pytest.raises(EditError, match="hash") as error:
        export_checkpoint(bare, made.edits, made.anatomy, tmp_path / "out")
    assert "applied to it already" in error.value.hint
    assert leftovers(tmp_path) == ["bare"]


def test_another_base_or_architecture_is_refused(base: Base_, checkpoint: Folder, tmp_path: Path) -> None:
    made = base("llama")
    with pytest.raises(EditError, match="does not have"):
        apply_edit(checkpoint("gemma4"), made.folder, tmp_path / "out")
    with pytest.raises(EditError, match="hash"):
        apply_edit(checkpoint("gemma2"), base("gemma3").folder, tmp_path / "out")
    with pytest.raises(EditError, match="by SABER itself"):
        export_checkpoint(
            checkpoint("llama"), edit_all(made.chat.model, made.anatomy, 9), made.anatomy, tmp_path / "o"
        )
    assert leftovers(tmp_path) == []


def test_a_second_edit_on_an_export_undoes_to_the_first(
    base: Base_, checkpoint: Folder, tmp_path: Path
) -> None:
    first = checkpoint("llama", BF16)
    chat = reload(first)
    anatomy = base("llama", BF16).anatomy
    second = edit_all(chat.model, anatomy, seed=5)
    export_checkpoint(first, second, anatomy, tmp_path / "second")
    undo(tmp_path / "second", tmp_path / "first")
    undo(tmp_path / "first", tmp_path / "base")
    assert contents(tmp_path / "first") == contents(first)
    assert contents(tmp_path / "base") == contents(base("llama", BF16).folder)
    third = edit_all(reload(tmp_path / "second").model, anatomy, seed=6)
    with pytest.raises(ExportError, match="cannot be kept"):
        export_checkpoint(tmp_path / "second", third, anatomy, tmp_path / "third")


def test_an_edit_made_in_bfloat16_fits_its_float32_checkpoint(base: Base_, tmp_path: Path) -> None:
    made = base("llama")
    narrow = reload(made.folder).model.to(BF16)
    edits = edit_all(narrow, made.anatomy)
    report = export_checkpoint(made.folder, edits, made.anatomy, tmp_path / "out")
    assert max(row.component_left for row in report.certificates) < 0.42


def test_a_folder_that_is_not_empty_is_refused(base: Base_, tmp_path: Path) -> None:
    made = base("llama")
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ExportError, match="not empty"):
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path)
    with pytest.raises(ExportError, match="not empty"):
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "empty")
    assert leftovers(tmp_path) == ["empty", "mine"]


def test_an_extra_file_never_replaces_a_file_of_the_base(base: Base_, tmp_path: Path) -> None:
    made = base("llama")
    with pytest.raises(ExportError, match=r"config\.json would replace"):
        export_checkpoint(
            made.folder, made.edits, made.anatomy, tmp_path / "out", extra_files={"config.json": "{}"}
        )


def test_weights_that_stay_unedited_are_named(base: Base_, tmp_path: Path) -> None:
    made = base("llama", BF16)
    folder = shutil.copytree(made.folder, tmp_path / "base")
    shutil.copyfile(folder / "model.safetensors", folder / "consolidated.safetensors")
    report = export_checkpoint(folder, made.edits, made.anatomy, tmp_path / "out")
    assert report.unedited_weights == ("consolidated.safetensors",)


def test_a_full_disk_is_seen_before_anything_is_written(
    base: Base_, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = base("llama")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ExportError, match="free"):
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "out")
    assert leftovers(tmp_path) == []


def _stopping(stop: BaseException, after: int) -> Callable[..., Any]:
    calls: Iterator[int] = iter(range(1000))

    def copyfile(source: Path, target: Path) -> None:
        if next(calls) >= after:
            raise stop
        Path(target).write_bytes(Path(source).read_bytes())

    return copyfile


@pytest.mark.parametrize(
    ("stop", "seen"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StoreError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_whatever_stops_an_export_leaves_nothing_behind(
    stop: BaseException,
    seen: type[BaseException],
    base: Base_,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = base("llama")
    monkeypatch.setattr(shutil, "copyfile", _stopping(stop, 3))
    with pytest.raises(seen):
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "out")
    assert leftovers(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(
        checkpoint_module, "apply_patch", lambda *args, **options: (_ for _ in ()).throw(stop)
    )
    with pytest.raises(seen):
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "out")
    assert leftovers(tmp_path) == []


def test_an_edit_that_overflows_is_refused(base: Base_, tmp_path: Path) -> None:
    made = base("llama")
    huge = {
        name: dataclasses.replace(edit, left=edit.left * 1e38, right=edit.right * 1e38)
        for name, edit in made.edits.edits.items()
    }
    with pytest.raises(ExportError, match="do not fit"):
        export_checkpoint(made.folder, EditSet(huge, made.edits.base_sha256), made.anatomy, tmp_path / "out")
    assert leftovers(tmp_path) == []
