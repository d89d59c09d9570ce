"""An exported checkpoint is the edit, exactly, and nothing else; whatever stops it leaves nothing behind."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch

import saber.export.checkpoint as checkpoint_module
from saber.ablation.apply import InPlace, applied, certify, edited_weight
from saber.errors import EditError, ExportError
from saber.export.apply import apply_edit, base_of
from saber.export.checkpoint import export_checkpoint
from saber.export.compare import compare_with_memory
from saber.export.edit_file import RECORD, TENSORS, UNDO, load_edit
from saber.export.shards import INDEX, SINGLE, places, read_tensor
from saber.export.undo import undo
from saber.export.verify import verify
from tests.export.exported import FAMILIES, PROMPTS, Base, contents, edit_all, leftovers, logits, reload

F32, BF16 = torch.float32, torch.bfloat16
CASES = [
    *((family, F32) for family in FAMILIES),
    *((family, BF16) for family in ("llama", "gpt2", "gemma3_mm", "gemma4_moe", "gpt_oss", "qwen3_moe")),
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
    assert (hooked - written).abs().max() <= 2e-4
    assert (reloaded - written).abs().max() <= 1e-5


@pytest.mark.parametrize(("family", "dtype"), [case for case in CASES if case[1] == BF16])
def test_a_bfloat16_checkpoint_is_the_edit_rounded_once(
    family: str, dtype: torch.dtype, base: Base_, checkpoint: Folder
) -> None:
    made = base(family, dtype)
    gap = compare_with_memory(made.chat, made.anatomy, made.edits, checkpoint(family, dtype), PROMPTS)
    assert gap.in_place <= 1e-5
    assert 1e-4 < gap.hooks < gap.scale


@pytest.mark.parametrize(("family", "dtype"), CASES)
def test_only_edited_tensors_change_and_every_file_is_kept(
    family: str, dtype: torch.dtype, base: Base_, checkpoint: Folder
) -> None:
    made, out = base(family, dtype), checkpoint(family, dtype)
    record = json.loads((out / RECORD).read_text())
    rows, renamed = record["export"]["tensors"], record["export"]["renamed"]
    assert list(rows) == list(made.edits.edits)
    edited = {
        row["key"].replace("{expert}", str(expert))
        for row in rows.values()
        for expert in range(row["experts"] or 1)
    }
    before, after = places(made.folder), places(out)
    assert edited <= set(before)
    for key, place in before.items():
        assert after[key] == dataclasses.replace(place, file=renamed.get(place.file, place.file))
        old, new = read_tensor(made.folder, place), read_tensor(out, after[key])
        assert torch.equal(old, new) == (key not in edited), key
    again = reload(out).model
    for edit in made.edits:  # through transformers' own way from disk to memory
        weight = made.chat.model.get_parameter(edit.writer).to(dtype)
        wanted = edited_weight(weight, edit, made.anatomy.named()[edit.writer])
        assert torch.equal(again.get_parameter(edit.writer).to(dtype), wanted), edit.writer
    _check_files(contents(made.folder), contents(out), renamed, {before[key].file for key in edited})


def _check_files(
    old: dict[str, bytes], new: dict[str, bytes], renamed: dict[str, str], shards: set[str]
) -> None:
    for name, data in old.items():
        kept = new[renamed.get(name, name)]
        if name in shards:  # the header is as it was
            length = 8 + int.from_bytes(data[:8], "little")
            assert kept[:length] == data[:length]
        else:
            assert kept == data
    added = set(new) - set(old) - set(renamed.values())
    index = {INDEX} if SINGLE in renamed else set()
    untied = {"model-unembedding.safetensors", *index} if "config.json" in renamed else set()
    assert added == {RECORD, TENSORS, UNDO} | untied
    assert new["README.md"] == b"# Edited\n"


@pytest.mark.parametrize(("family", "dtype"), CASES)
def test_undo_brings_the_base_back_bit_for_bit(
    family: str, dtype: torch.dtype, base: Base_, checkpoint: Folder, tmp_path: Path
) -> None:
    undo(checkpoint(family, dtype), tmp_path / "base")
    assert contents(tmp_path / "base") == contents(base(family, dtype).folder)
    assert leftovers(tmp_path) == ["base"]


@pytest.mark.parametrize(
    ("family", "embedder"),
    [
        ("gemma3_mm", "multi_modal_projector.mm_input_projection_weight"),
        ("gemma4_mm", "model.embed_vision.embedding_projection.weight"),
    ],
)
def test_towers_stay_and_embedders_of_images_are_edited(
    family: str, embedder: str, base: Base_, checkpoint: Folder
) -> None:
    made, out = base(family), checkpoint(family)
    before, after = (
        {
            key: sha256(read_tensor(folder, place).numpy().tobytes()).digest()
            for key, place in places(folder).items()
        }
        for folder in (made.folder, out)
    )
    towers = [key for key in before if "vision_tower" in key]
    assert len(towers) > 10
    assert all(before[key] == after[key] for key in towers)
    assert before[embedder] != after[embedder]


@pytest.mark.parametrize("family", ["gpt_oss", "qwen3_moe"])
def test_experts_that_are_not_edited_keep_their_bytes(family: str, base: Base_, tmp_path: Path) -> None:
    made = base(family, BF16)
    edits = edit_all(made.chat.model, made.anatomy, seed=4, experts=(1, 3))
    report = export_checkpoint(made.folder, edits, made.anatomy, tmp_path / "out")
    again, writers = reload(tmp_path / "out").model, made.anatomy.named()
    fused = [edit for edit in edits if edit.experts is not None]
    assert fused
    for edit in fused:
        old, new = (m.get_parameter(edit.writer) for m in (made.chat.model, again))
        changed = [not torch.equal(old[expert], new[expert]) for expert in range(len(old))]
        assert changed == [False, True, False, True]
        wanted = edited_weight(old.to(BF16), edit, writers[edit.writer])
        assert torch.equal(new.to(BF16), wanted)
    rows = {row.writer: row for row in report.certificates}
    for row in certify(made.chat.model, made.anatomy, edits):
        if row.writer in {edit.writer for edit in fused}:
            assert rows[row.writer].wanted_left == pytest.approx(row.wanted_left, abs=1e-4)
    assert load_edit(tmp_path / "out")[0].edits[fused[0].writer].experts == (1, 3)
    assert [check.ok for check in verify(tmp_path / "out", device="cpu").checks] == [True] * 4
    undo(tmp_path / "out", tmp_path / "base")
    assert contents(tmp_path / "base") == contents(made.folder)


def test_small_chunks_give_the_same_bytes(
    base: Base_, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = base("gemma4_moe", BF16)
    export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "whole")
    monkeypatch.setattr(checkpoint_module, "CHUNK", 3000)
    export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "chunks")
    undo(tmp_path / "chunks", tmp_path / "undone")
    whole, chunks = contents(tmp_path / "whole"), contents(tmp_path / "chunks")
    assert contents(tmp_path / "undone") == contents(made.folder)
    assert whole["model-body.safetensors"] == chunks["model-body.safetensors"]


def test_certificates_are_measured_on_what_lies_on_disk(base: Base_, checkpoint: Folder) -> None:
    for family in ("gemma4_moe", "gpt_oss"):
        made = base(family)
        wanted = {row.writer: row for row in certify(made.chat.model, made.anatomy, made.edits)}
        for row in json.loads((checkpoint(family) / RECORD).read_text())["certificates"]:
            for name, value in dataclasses.asdict(wanted[row["writer"]]).items():
                assert row[name] == (value if isinstance(value, str) else pytest.approx(value, abs=1e-4))


def test_the_edit_inside_an_export_applies_to_the_base_again(
    base: Base_, checkpoint: Folder, tmp_path: Path
) -> None:
    made, out = base("gemma4_mm"), checkpoint("gemma4_mm")
    loaded, record = load_edit(out)
    assert loaded.sha256 == made.edits.sha256
    assert base_of(made.folder)[1] == made.anatomy
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
        apply_edit(checkpoint("gemma4_mm"), made.folder, tmp_path / "out")
    with pytest.raises(EditError, match="hash"):
        apply_edit(checkpoint("llama_tied"), made.folder, tmp_path / "out")
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
