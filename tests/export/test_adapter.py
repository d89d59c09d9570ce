"""The LoRA is the edit: the same logits, no rank pattern, no module outside the text decoder."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saber.ablation.apply import InPlace
from saber.ablation.edit import EditSet
from saber.errors import EditError, ExportError
from saber.export.adapter import CONFIG, WEIGHTS, export_adapter, with_adapter
from saber.export.carriers import adapter_gaps
from saber.export.compare import compare_with_memory
from saber.export.edit_file import RECORD, TENSORS, load_edit
from saber.export.verify import verify
from tests.export.exported import PROMPTS, Base, edit_all, leftovers, logits, reload

FAMILIES = (
    "llama",  # linears, and an embedding of its own
    "gpt2",  # Conv1D, positions
    "gemma4_moe",  # post-norms, experts as they lie on disk
    "gemma3_mm",  # towers whose modules have the same names; a bare parameter
    "gpt_oss",  # (E, in, d_model), which the class declares
    "llama4",  # (E, in, d_model), which the class does not declare
    "deepseek_v3",  # linears that PEFT would take for experts
    "mixtral",
    "nemotron_h",
    "opt",  # positions that are looked up with an offset
)
Adapter = Callable[[str], tuple[Path, EditSet]]


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_gives_the_same_logits(family: str, base: Callable[..., Base], adapter: Adapter) -> None:
    made, (out, edits) = base(family), adapter(family)
    in_place = InPlace(made.chat.model, made.anatomy, edits)
    written = logits(made.chat)
    wanted = {edit.writer: made.chat.model.get_parameter(edit.writer).detach().clone() for edit in edits}
    in_place.undo()
    assert (logits(made.chat) - written).abs().max() > 0.05
    loaded = with_adapter(reload(made.folder), out)
    assert (logits(loaded) - written).abs().max() <= 1e-4
    wrapped = {
        name for name, _ in loaded.model.named_modules() if name.endswith(("lora_A", "lora_embedding_A"))
    }
    assert not any("vision" in name for name in wrapped)
    merged = loaded.model.merge_and_unload()
    for name, weight in wanted.items():
        assert (merged.get_parameter(name) - weight).abs().max() <= 1e-6, name
    assert (logits(dataclasses.replace(loaded, model=merged)) - written).abs().max() <= 1e-4


@pytest.mark.parametrize("family", ["qwen3_moe", "gpt_oss"])
def test_experts_that_are_not_edited_stay(family: str, base: Callable[..., Base], tmp_path: Path) -> None:
    made = base(family)
    names = [writer.name for writer in made.anatomy.writers if writer.form == "experts"]
    edits = edit_all(made.chat.model, made.anatomy, names=names, experts=(2,))
    export_adapter(edits, made.anatomy, made.chat.model, tmp_path / "lora", base_name=str(made.folder))
    merged = with_adapter(reload(made.folder), tmp_path / "lora").model.merge_and_unload()
    for name in names:
        old, new = made.chat.model.get_parameter(name), merged.get_parameter(name)
        assert [torch.equal(old[expert], new[expert]) for expert in range(4)] == [True, True, False, True]


def test_what_a_lora_cannot_carry_is_refused_before_anything_is_written(
    base: Callable[..., Base], tmp_path: Path
) -> None:
    for family, found, kinds in (
        (
            "gpt2",
            r"5 of 10 writers \(transformer\.wte\.weight: it is also lm_head.*c_proj\.bias, \.\.\.: it is a bias",
            '"attention", "mlp"',
        ),
        ("gpt_oss", "it is a bias", '"embedding", "attention", "experts"'),
        ("nemotron_h", "PEFT takes no adapter for the out_proj of nemotron_h", '"embedding", "experts"'),
    ):
        made = base(family)
        with pytest.raises(ExportError, match=found) as error:
            export_adapter(made.edits, made.anatomy, made.chat.model, tmp_path / "lora", base_name="x")
        assert f"--set 'ablation.writers=[{kinds}" in error.value.hint
        assert "checkpoint" in error.value.hint
        chosen = [writer for writer in made.anatomy.writers if writer.kind in kinds]
        assert adapter_gaps(chosen, made.chat.model, made.anatomy) == []
        assert adapter_gaps(made.anatomy.writers, made.chat.model, made.anatomy)
    assert leftovers(tmp_path) == []


def test_an_adapter_that_peft_puts_on_in_part_is_refused(
    base: Callable[..., Base], adapter: Adapter, tmp_path: Path
) -> None:
    """PEFT drops target modules of this name: it takes them for experts from before they were fused."""
    made = base("deepseek_v3")
    out = Path(shutil.copytree(adapter("deepseek_v3")[0], tmp_path / "lora"))
    config = json.loads((out / CONFIG).read_text())
    linear = "model.layers.1.mlp.shared_experts.down_proj"
    config["target_parameters"].remove(f"{linear}.weight")
    config["target_modules"].append(linear)
    (out / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ExportError, match="PEFT put on 5 of the 6 parts"):
        with_adapter(reload(made.folder), out)


def test_writers_of_different_ranks_share_one(base: Callable[..., Base], tmp_path: Path) -> None:
    made = base("qwen3_moe")
    one = edit_all(made.chat.model, made.anatomy, seed=3, alpha=(1.0,))
    mixed = {
        name: (one if place % 2 else made.edits).edits[name] for place, name in enumerate(made.edits.edits)
    }
    edits = EditSet(mixed, made.edits.base_sha256)
    export_adapter(edits, made.anatomy, made.chat.model, tmp_path / "lora", base_name=str(made.folder))
    config = json.loads((tmp_path / "lora" / CONFIG).read_text())
    assert config["r"] == config["lora_alpha"] == 2
    gap = compare_with_memory(made.chat, made.anatomy, edits, tmp_path / "lora", PROMPTS)
    assert gap.in_place <= 1e-4
    assert gap.hooks <= 1e-4


def test_narrow_factors_are_close_and_verify(base: Callable[..., Base], tmp_path: Path) -> None:
    made = base("llama")
    out = export_adapter(
        made.edits,
        made.anatomy,
        made.chat.model,
        tmp_path / "lora",
        base_name=str(made.folder),
        dtype="bfloat16",
    )
    gap = compare_with_memory(made.chat, made.anatomy, made.edits, out, PROMPTS)
    assert 1e-4 < gap.hooks < gap.scale / 4
    assert verify(out, device="cpu").ok


def test_the_folder_verifies_and_holds_the_edit(adapter: Adapter) -> None:
    out, edits = adapter("gemma4_moe")
    assert leftovers(out) == [CONFIG, WEIGHTS, RECORD, TENSORS]
    assert load_edit(out)[0].sha256 == edits.sha256
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
    out = export_adapter(
        made.edits, made.anatomy, made.chat.model, tmp_path / "lora", base_name=str(tmp_path / "gone")
    )
    report = verify(out, device="cpu")
    assert report.ok
    assert [check.ok for check in report.checks] == [True, True, None]


def test_an_adapter_of_another_base_or_with_other_factors_fails(
    base: Callable[..., Base], tmp_path: Path
) -> None:
    made = base("llama")
    other = base("llama", torch.bfloat16)
    out = export_adapter(
        made.edits, made.anatomy, made.chat.model, tmp_path / "lora", base_name=str(other.folder)
    )
    data = bytearray((out / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (out / WEIGHTS).write_bytes(data)
    failed = [check.name for check in verify(out, device="cpu").checks if check.ok is False]
    assert failed == ["hashes", "base", "certificate"]


def test_refusals(base: Callable[..., Base], tmp_path: Path) -> None:
    made = base("llama")
    model = made.chat.model
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(ExportError, match="not empty"):
        export_adapter(made.edits, made.anatomy, model, tmp_path / "full", base_name="x")
    with pytest.raises(ExportError, match="changes nothing"):
        export_adapter(EditSet({}, "x"), made.anatomy, model, tmp_path / "lora", base_name="x")
    with pytest.raises(EditError, match="does not have"):
        export_adapter(base("gpt_oss").edits, made.anatomy, model, tmp_path / "lora", base_name="x")
    assert leftovers(tmp_path) == ["full"]
