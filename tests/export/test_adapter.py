"""The LoRA is the edit: the same logits, no rank pattern, no module outside the text decoder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saber.ablation.apply import applied
from saber.ablation.edit import EditSet
from saber.errors import EditError, ExportError
from saber.export.adapter import CONFIG, WEIGHTS, export_adapter
from saber.export.compare import compare_with_memory
from saber.export.edit_file import RECORD, TENSORS, load_edit
from saber.export.verify import verify, with_adapter
from tests.export.exported import FAMILIES, PROMPTS, Base, edit_all, leftovers, logits, reload


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_gives_the_same_logits(
    family: str, base: Callable[..., Base], adapter: Callable[[str], Path]
) -> None:
    made = base(family)
    with applied(made.chat.model, made.anatomy, made.edits):
        hooked = logits(made.chat)
    loaded = with_adapter(reload(made.folder), adapter(family))
    assert (logits(loaded) - hooked).abs().max() <= 1e-4
    wrapped = {name for name, _ in loaded.model.named_modules() if name.endswith("lora_A")}
    assert len(wrapped) == len(made.edits)
    assert all(".layers." in name and "vision" not in name for name in wrapped)
    merged = loaded.model.merge_and_unload()
    assert (logits(dataclasses.replace(loaded, model=merged)) - hooked).abs().max() <= 1e-4


def test_writers_of_different_ranks_share_one(base: Callable[..., Base], tmp_path: Path) -> None:
    made = base("gemma4_moe")
    one = edit_all(made.chat.model, made.anatomy, seed=3, alpha=(1.0,))
    mixed = {
        name: (one if place % 2 else made.edits).edits[name] for place, name in enumerate(made.edits.edits)
    }
    edits = EditSet(mixed, made.edits.base_sha256)
    export_adapter(edits, made.anatomy, tmp_path / "lora", base_name=str(made.folder))
    config = json.loads((tmp_path / "lora" / CONFIG).read_text())
    assert config["r"] == config["lora_alpha"] == 2
    gap = compare_with_memory(made.chat, made.anatomy, edits, tmp_path / "lora", PROMPTS)
    assert gap.in_place <= 1e-4
    assert gap.hooks <= 1e-4


def test_narrow_factors_are_close_and_verify(base: Callable[..., Base], tmp_path: Path) -> None:
    made = base("llama")
    out = export_adapter(
        made.edits, made.anatomy, tmp_path / "lora", base_name=str(made.folder), dtype="bfloat16"
    )
    gap = compare_with_memory(made.chat, made.anatomy, made.edits, out, PROMPTS)
    assert 1e-4 < gap.hooks < gap.scale / 4
    assert verify(out, device="cpu").ok


def test_the_folder_verifies_and_holds_the_edit(
    base: Callable[..., Base], adapter: Callable[[str], Path]
) -> None:
    out = adapter("gemma4_moe")
    assert leftovers(out) == [CONFIG, WEIGHTS, RECORD, TENSORS]
    assert load_edit(out)[0].sha256 == base("gemma4_moe").edits.sha256
    report = verify(out, device="cpu")
    assert [(check.name, check.ok) for check in report.checks] == [
        ("hashes", True),
        ("tensors", True),
        ("base", True),
        ("certificate", True),
        ("reload", True),
    ]


def test_without_its_base_an_adapter_is_only_partly_verified(
    base: Callable[..., Base], tmp_path: Path
) -> None:
    made = base("llama")
    out = export_adapter(made.edits, made.anatomy, tmp_path / "lora", base_name=str(tmp_path / "gone"))
    report = verify(out, device="cpu")
    assert report.ok
    assert [check.ok for check in report.checks] == [True, True, None]


def test_an_adapter_of_another_base_or_with_other_factors_fails(
    base: Callable[..., Base], tmp_path: Path
) -> None:
    made = base("llama")
    other = base("llama", torch.bfloat16)
    out = export_adapter(made.edits, made.anatomy, tmp_path / "lora", base_name=str(other.folder))
    data = bytearray((out / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (out / WEIGHTS).write_bytes(data)
    failed = [check.name for check in verify(out, device="cpu").checks if check.ok is False]
    assert failed == ["hashes", "base", "certificate"]


def test_refusals(base: Callable[..., Base], tmp_path: Path) -> None:
    made = base("llama")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(ExportError, match="not empty"):
        export_adapter(made.edits, made.anatomy, tmp_path / "full", base_name="x")
    with pytest.raises(ExportError, match="changes nothing"):
        export_adapter(EditSet({}, "x"), made.anatomy, tmp_path / "lora", base_name="x")
    with pytest.raises(EditError, match="does not have"):
        export_adapter(base("gemma4_mm").edits, made.anatomy, tmp_path / "lora", base_name="x")
    turned = dataclasses.replace(
        made.anatomy, writers=tuple(dataclasses.replace(w, axis=1) for w in made.anatomy.writers)
    )
    with pytest.raises(ExportError, match="d_model last"):
        export_adapter(made.edits, turned, tmp_path / "lora", base_name="x")
    assert leftovers(tmp_path) == ["full"]
