"""Edits that read their inputs in another mode than M0 leave the lab like any other, and are never read as M0."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from saber.ablation.apply import InPlace, applied, base_hash, certify
from saber.ablation.edit import EditSet
from saber.ablation.reader import Inputs, input_map
from saber.config import ModelConfig
from saber.errors import EditError
from saber.export.adapter import export_adapter, with_adapter
from saber.export.apply import apply_edit
from saber.export.checkpoint import export_checkpoint
from saber.export.edit_file import RECORD, load_edit, save_edit, sealed
from saber.export.rebase import rebased
from saber.export.shards import places
from saber.export.undo import undo
from saber.export.verify import verify
from saber.model.load import load
from saber.store import RunFolder, read_tensors, write_tensors
from tests.export.exported import Base, contents, edit_all, logits, reload

MODES = ("M1", "M2", "M3")
FAMILIES = ("llama", "gpt2", "qwen3_moe")  # linears; Conv1D and biases; fused experts, which stay in M0
Make = Callable[..., Base]


def in_mode(base: Base, mode: str) -> EditSet:
    """The base's edit with every linear in a mode, fitted to random inputs; their biases stay."""
    writers = base.anatomy.named()
    generator = torch.Generator().manual_seed(0)
    linears = {w.module: w for w in base.anatomy.writers if w.form == "matrix"}
    kept = [w.name for w in writers.values() if w.form == "matrix" or w.module not in linears]
    made = edit_all(base.chat.model, base.anatomy, names=kept)
    edits = dict(made.edits)
    for writer in linears.values():
        edit, k = edits[writer.name], writer.shape[1 - writer.axis]
        shift = torch.randn(k, generator=generator)
        roles = [torch.randn(20, k, generator=generator) + shift * (place == 0) for place in range(3)]
        groups = {role: torch.arange(20) for role in ("harmful", "harmless", "preserve")}
        inputs = Inputs(roles[0], roles[1], {"preserve": roles[2]}, groups)
        right = input_map(inputs, mode=mode).rows(edit.right).float()  # type: ignore[arg-type]
        edits[writer.name] = dataclasses.replace(edit, right=right.contiguous(), mode=mode)
    return EditSet(edits, made.base_sha256)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_hooks_in_place_reloaded_and_undone_are_one(
    family: str, mode: str, base: Make, tmp_path: Path
) -> None:
    made = base(family)
    edits = in_mode(made, mode)
    clean = logits(made.chat)
    with applied(made.chat.model, made.anatomy, edits):
        hooked = logits(made.chat)
    in_place = InPlace(made.chat.model, made.anatomy, edits)
    written = logits(made.chat)
    in_place.undo()
    assert torch.equal(logits(made.chat), clean)
    change = float((written - clean).abs().max())
    assert change > 1e-2
    assert (hooked - written).abs().max() <= 1e-4 * max(change, 1.0)
    out = tmp_path / "checkpoint"
    export_checkpoint(made.folder, edits, made.anatomy, out, base_name=str(made.folder))
    assert torch.equal(logits(reload(out)), written)
    report = verify(out, device="cpu")
    assert report.ok, report.checks
    assert f"read their inputs in {mode} and change by at most" in report.checks[2].detail
    undo(out, tmp_path / "base")
    assert contents(tmp_path / "base") == contents(made.folder)


@pytest.mark.parametrize("mode", MODES)
def test_the_adapter_is_the_edit(mode: str, base: Make, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    made = base("llama")
    edits = in_mode(made, mode)
    with applied(made.chat.model, made.anatomy, edits):
        hooked = logits(made.chat)
    export_adapter(edits, made.anatomy, made.chat.model, tmp_path / "lora", base_name=str(made.folder))
    assert (logits(with_adapter(reload(made.folder), tmp_path / "lora")) - hooked).abs().max() <= 1e-4
    report = verify(tmp_path / "lora", device="cpu")
    assert report.ok, report.checks
    assert f"read their inputs in {mode}" in report.checks[3].detail


def test_a_saved_edit_keeps_its_modes_and_is_applied_alike(base: Make, tmp_path: Path) -> None:
    made = base("gpt2")
    edits = in_mode(made, "M3")
    run = RunFolder.create(tmp_path / "run")
    rows = certify(made.chat.model, made.anatomy, edits)
    save_edit(run.edit_tensors, run.edit_record, edits, rows, {"base_name": "pico"})
    loaded, record = load_edit(run.path)
    assert record["format"] == 3
    assert {name: edit.mode for name, edit in loaded.edits.items()} == {e.writer: e.mode for e in edits}
    assert {edit.mode for edit in loaded} == {"M0", "M3"}
    apply_edit(run.path, made.folder, tmp_path / "applied")
    export_checkpoint(made.folder, edits, made.anatomy, tmp_path / "exported")
    shards = [name for name in contents(tmp_path / "applied") if name.startswith("model")]
    assert shards
    for shard in shards:
        assert (tmp_path / "applied" / shard).read_bytes() == (tmp_path / "exported" / shard).read_bytes()


def test_an_edit_in_the_standard_mode_has_the_format_of_before(base: Make, tmp_path: Path) -> None:
    made = base("llama")
    rows = certify(made.chat.model, made.anatomy, made.edits)
    save_edit(tmp_path / "e.safetensors", tmp_path / "e.json", made.edits, rows, {})
    record = json.loads((tmp_path / "e.json").read_text())
    assert record["format"] == 2
    assert {tuple(row) for row in record["writers"].values()} == {("rank",)}
    assert {edit.mode for edit in load_edit(tmp_path / "e.json")[0]} == {"M0"}


def test_an_unknown_mode_is_refused(base: Make, tmp_path: Path) -> None:
    made = base("llama")
    edits = in_mode(made, "M3")
    save_edit(tmp_path / "e.safetensors", tmp_path / "e.json", edits, [], {})
    text = (tmp_path / "e.json").read_text().replace('"M3"', '"M9"', 1)
    (tmp_path / "e.json").write_text(json.dumps(sealed(json.loads(text))))
    with pytest.raises(EditError, match="unknown mode M9"):
        load_edit(tmp_path / "e.json")


def test_a_certificate_that_tells_another_change_is_found(base: Make, tmp_path: Path) -> None:
    made = base("llama", torch.bfloat16)
    export_checkpoint(made.folder, in_mode(made, "M3"), made.anatomy, tmp_path / "out")
    file = tmp_path / "out" / RECORD
    record = json.loads(file.read_text())
    record["certificates"][0]["relative_norm"] *= 1.01
    file.write_text(json.dumps(sealed(record)))
    found = {check.name: check for check in verify(tmp_path / "out", device="cpu").checks}
    assert found["certificate"].ok is False
    assert "of its norm, the certificate says" in found["certificate"].detail


def test_rows_that_read_inputs_go_onto_the_same_base_only(base: Make, tmp_path: Path) -> None:
    made = base("llama", torch.bfloat16)
    edits = in_mode(made, "M3")
    linears = EditSet({e.writer: e for e in edits if e.mode == "M3"}, "")
    own = dataclasses.replace(linears, base_sha256=hash_of(made, linears))
    again, difference = rebased(made.folder, own, made.anatomy)
    assert difference == 0.0
    assert again.sha256 == own.sha256
    other = Path(shutil.copytree(made.folder, tmp_path / "other"))
    tensors, metadata = read_tensors(other / "model.safetensors")
    key = next(key for key in places(other) if key.endswith("down_proj.weight"))
    tensors[key][0, 0] += 1.0
    write_tensors(other / "model.safetensors", tensors, metadata)
    with pytest.raises(EditError, match="edited from their inputs"):
        rebased(other, own, made.anatomy)
    # A writer in M0 shows that the rest is the same but for rounding.
    mixed, _ = rebased(other, edits, made.anatomy)
    assert torch.equal(mixed.edits[key].right, edits.edits[key].right)


def hash_of(made: Base, edits: EditSet) -> str:
    return base_hash(made.chat.model, [made.anatomy.named()[name] for name in edits.edits])


def quantised(made: Base, kind: Any) -> Any:
    pytest.importorskip("bitsandbytes")
    return load(str(made.folder), ModelConfig(device="cpu", batch_size=8, quantise=kind))


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_a_hook_on_quantised_weights_reads_the_input(kind: str, base: Make) -> None:
    """`read` off the output would be the standard edit; what the mode reads is in the input alone."""
    made = base("llama")
    chat = quantised(made, kind)
    edits = {edit.writer: edit for edit in in_mode(made, "M3") if edit.mode == "M3"}
    name, edit = next(iter(edits.items()))
    module = chat.model.get_submodule(name.removesuffix(".weight"))

    def outcome(edit: EditSet | None) -> tuple[torch.Tensor, torch.Tensor]:
        seen: list[torch.Tensor] = []
        with applied(chat.model, made.anatomy, edit):
            handle = module.register_forward_hook(lambda _, args, out: seen.extend((args[0], out)))
            logits(chat)
            handle.remove()
        return seen[0], seen[1]

    x, plain = outcome(None)
    same, changed = outcome(EditSet({name: edit}, ""))
    assert torch.equal(x, same)
    wanted = x @ edit.right.T @ edit.left.T
    assert wanted.abs().max() > 1e-3
    assert (changed - plain - wanted).abs().max() <= 1e-5
