"""A checkpoint that is quantised on disk is exported in bf16, or its edit goes onto the unquantised master."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from saber.ablation.apply import InPlace
from saber.config import ModelConfig
from saber.errors import EditError, ExportError
from saber.export.checkpoint import export_checkpoint
from saber.export.dequantised import dequantise_checkpoint, export_dequantised
from saber.export.rebase import rebased
from saber.export.verify import verify
from saber.model.load import load
from tests import pico
from tests.model import by_hand

pytest.importorskip("bitsandbytes")
CPU = ModelConfig(device="cpu")
FORMATS = ("fp8", "fp8_moe", "mxfp4", "4bit", "8bit")


def with_(quantise: Any, **more: Any) -> ModelConfig:
    return ModelConfig(device="cpu", quantise=quantise, **more)


@pytest.mark.parametrize("kind", FORMATS)
def test_dequantised_export(kind: str, on_disk: dict[str, Path], tmp_path: Path) -> None:
    """A bf16 checkpoint that holds the edit, loads without a word of quantisation, and verifies like any other."""
    folder, out = on_disk[kind], tmp_path / "out"
    chat = load(str(folder), with_("keep", dtype="bfloat16"))
    anatomy = by_hand.anatomy(chat.model)
    edits = by_hand.edits(chat.model, anatomy)
    report = export_dequantised(
        folder, edits, anatomy, out, base_name="base", extra_files={"README.md": "# New\n"}
    )
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
    again = load(str(out), ModelConfig(device="cpu", dtype="bfloat16"))
    assert again.quantisation.on_disk == "none"
    assert again.rendered == chat.rendered
    assert {parameter.dtype for parameter in again.model.parameters()} == {torch.bfloat16}
    base = load(str(folder), with_("none", dtype="bfloat16")).model
    clean = by_hand.logits(base)
    InPlace(base, anatomy, by_hand.edits(base, anatomy))  # the same directions, from the dequantised weights
    for name, parameter in base.named_parameters():
        assert torch.equal(parameter, again.model.get_parameter(name)), name
    assert torch.equal(by_hand.logits(again.model), by_hand.logits(base))
    assert not torch.equal(by_hand.logits(base), clean)
    assert (
        max(row.component_left for row in report.certificates) < 0.45
    )  # alpha of the second direction is 0.6
    checked = verify(out, device="cpu")
    assert checked.ok, checked.checks


def test_files_around_the_weights_are_kept(on_disk: dict[str, Path], tmp_path: Path) -> None:
    assert dequantise_checkpoint(on_disk["fp8"], tmp_path / "plain") == "fp8"
    weights = {"model.safetensors", "config.json"}
    before = {path.name for path in on_disk["fp8"].iterdir()}
    assert {path.name for path in (tmp_path / "plain").iterdir()} == before
    for name in before - weights:
        assert (tmp_path / "plain" / name).read_bytes() == (on_disk["fp8"] / name).read_bytes()


def test_an_export_that_fails_leaves_nothing(on_disk: dict[str, Path], tmp_path: Path) -> None:
    chat = load(str(on_disk["fp8"]), CPU)
    anatomy = by_hand.anatomy(chat.model)
    edits = by_hand.edits(chat.model, anatomy)
    other = pico.save("llama", tmp_path / "other", dtype=torch.bfloat16, seed=5)
    strange, _ = by_hand.to_fp8(other, tmp_path / "strange")
    with pytest.raises(EditError, match="are not those that the edit was made from"):
        export_dequantised(strange, edits, anatomy, tmp_path / "out" / "deep")
    assert not list((tmp_path / "out").iterdir())


def test_a_plain_checkpoint_is_not_dequantised(masters: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="not quantised"):
        dequantise_checkpoint(masters["llama"], tmp_path / "out")


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_measured_quantised_exported_from_the_master(
    kind: str, masters: dict[str, Path], tmp_path: Path
) -> None:
    chat = load(str(masters["llama"]), with_(kind, dtype="bfloat16"))
    anatomy = by_hand.anatomy(chat.model)
    edits = by_hand.edits(chat.model, anatomy)
    with pytest.raises(EditError, match="hash to"):
        export_checkpoint(masters["llama"], edits, anatomy, tmp_path / "no")
    with pytest.raises(EditError, match="are not those"):
        rebased(masters["llama"], edits, anatomy)
    own, difference = rebased(masters["llama"], edits, anatomy, quantise=kind)
    assert difference < 1e-5
    master = load(str(masters["llama"]), with_("keep", dtype="bfloat16")).model
    wanted = by_hand.edits(master, anatomy)
    assert own.base_sha256 == wanted.base_sha256
    export_checkpoint(masters["llama"], own, anatomy, tmp_path / "out")
    InPlace(master, anatomy, wanted)
    exported = load(str(tmp_path / "out"), with_("keep", dtype="bfloat16")).model
    assert torch.equal(by_hand.logits(exported), by_hand.logits(master))


def test_another_model_is_not_a_master(masters: dict[str, Path], tmp_path: Path) -> None:
    chat = load(str(masters["llama"]), with_("4bit"))
    anatomy = by_hand.anatomy(chat.model)
    edits = by_hand.edits(chat.model, anatomy)
    other = pico.save("llama", tmp_path / "other", dtype=torch.bfloat16, seed=5)
    with pytest.raises(EditError, match="are not those that the edit was made from"):
        rebased(other, edits, anatomy, quantise="4bit")
