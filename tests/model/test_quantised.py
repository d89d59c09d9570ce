"""Quantised weights are read as what they are, measured as they run, and never edited on their own coarse grid."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from saber.ablation.apply import InPlace, applied
from saber.config import ModelConfig
from saber.errors import EditError, ModelError
from saber.model.examine import examine
from saber.model.load import load, skeleton
from saber.model.quantised import format_on_disk, through
from saber.model.weights import held, read_weight, shape_of
from tests.model import by_hand

bitsandbytes = pytest.importorskip("bitsandbytes")
CPU = ModelConfig(device="cpu")
DOWN = "model.layers.1.mlp.down_proj.weight"
FORMATS = ("fp8", "fp8_moe", "mxfp4", "4bit", "8bit")


def with_(quantise: Any, **more: Any) -> ModelConfig:
    return ModelConfig(device="cpu", quantise=quantise, **more)


@pytest.mark.parametrize("kind", ["fp8", "mxfp4"])
@pytest.mark.parametrize("quantise", ["keep", "none"])
def test_without_kernels_weights_are_dequantised_and_that_is_said(
    kind: str, quantise: str, masters: dict[str, Path], tmp_path: Path
) -> None:
    source = masters["llama" if kind == "fp8" else "gpt_oss"]
    folder, values = getattr(by_hand, f"to_{kind}")(source, tmp_path / "q")
    chat = load(str(folder), with_(quantise))
    assert (chat.quantisation.on_disk, chat.quantisation.in_memory) == (kind, "none")
    asked = "as asked" if quantise == "none" else "no kernels"
    assert f"{kind} on disk" in chat.notes[0]
    assert asked in chat.notes[0]
    for name, value in values.items():
        assert held(chat.model, name) == "plain"
        assert torch.equal(read_weight(chat.model, name), value.float())
    bare = skeleton(folder, "q", CPU)
    assert {type(m).__name__ for m in bare.modules()} == {type(m).__name__ for m in chat.model.modules()}


@pytest.mark.parametrize(("kind", "error"), [("4bit", 0.12), ("8bit", 0.01)])
def test_bitsandbytes_while_loading(kind: str, error: float, masters: dict[str, Path]) -> None:
    chat = load(str(masters["llama"]), with_(kind))
    assert held(chat.model, DOWN) == kind
    assert (chat.quantisation.on_disk, chat.quantisation.in_memory) == ("none", kind)
    assert 0.7 < chat.quantisation.share < 0.9  # embeddings and the unembedding are left out
    assert "exported checkpoint is unquantised" in chat.notes[0]
    master = load_file(masters["llama"] / "model.safetensors")[DOWN].float()
    read = read_weight(chat.model, DOWN)
    assert shape_of(chat.model, DOWN) == tuple(read.shape) == (64, 96)
    assert 0 < float((read - master).norm() / master.norm()) < error
    assert torch.equal(read, through(master, kind, torch.float32))
    by_hand.logits(chat.model)  # the first pass moves scales about
    assert torch.equal(read, read_weight(chat.model, DOWN))


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_bitsandbytes_on_disk(kind: str, on_disk: dict[str, Path]) -> None:
    kept, plain = load(str(on_disk[kind]), CPU), load(str(on_disk[kind]), with_("none"))
    assert (kept.quantisation.on_disk, kept.quantisation.in_memory) == (kind, kind)
    assert (plain.quantisation.on_disk, plain.quantisation.in_memory) == (kind, "none")
    for name, parameter in plain.model.named_parameters():
        assert torch.equal(read_weight(kept.model, name).float(), parameter)
    gap = (by_hand.logits(kept.model) - by_hand.logits(plain.model)).abs().max()
    assert gap < (1e-5 if kind == "4bit" else 0.1)  # 8-bit products also round their inputs


def test_fused_experts_stay_plain_under_bitsandbytes(masters: dict[str, Path]) -> None:
    chat = load(str(masters["qwen3_moe"]), with_("4bit"))
    assert held(chat.model, "model.layers.0.mlp.experts.down_proj") == "plain"
    assert held(chat.model, "model.layers.0.self_attn.o_proj.weight") == "4bit"
    assert chat.quantisation.share < 0.4


def test_the_layers_of_gpt2_lie_the_other_way_round(masters: dict[str, Path], tmp_path: Path) -> None:
    """bitsandbytes turns them; transformers does not turn them back when it dequantises."""
    name = "transformer.h.0.attn.c_proj.weight"
    master = load(str(masters["gpt2"]), CPU).model.get_parameter(name)
    chat = load(str(masters["gpt2"]), with_("4bit"))
    read = read_weight(chat.model, name)
    assert (read - master).norm() < 0.12 * master.norm()
    assert torch.equal(read, through(master.T, "4bit", torch.float32).T)
    folder = by_hand.save(chat.model, tmp_path / "q")
    plain = load(str(folder), with_("none")).model
    assert type(plain.get_submodule("transformer.h.0.attn.c_proj")).__name__ == "Conv1D"
    assert torch.equal(read_weight(plain, name), read)
    assert torch.allclose(by_hand.logits(plain), by_hand.logits(chat.model), atol=1e-5)


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_hooks_edit_what_the_quantised_model_computes(kind: str, masters: dict[str, Path]) -> None:
    chat = load(str(masters["llama"]), with_(kind))
    anatomy = by_hand.anatomy(chat.model)
    edits = by_hand.edits(chat.model, anatomy)
    base = by_hand.logits(chat.model)
    with applied(chat.model, anatomy, edits):
        hooked = by_hand.logits(chat.model)
    assert torch.equal(by_hand.logits(chat.model), base)
    with pytest.raises(EditError, match="bits"):
        InPlace(chat.model, anatomy, edits)
    plain = load(str(by_hand.save(chat.model, masters["llama"].parent / kind)), with_("none")).model
    InPlace(plain, anatomy, edits)
    gap = (hooked - by_hand.logits(plain)).abs().max()
    assert gap < (1e-4 if kind == "4bit" else 0.1)
    assert (hooked - base).abs().max() > 10 * gap


def test_writers_are_found_whatever_holds_them(
    on_disk: dict[str, Path], masters: dict[str, Path], tmp_path: Path
) -> None:
    """As in the model without weights, which is never quantised."""
    cases = [(on_disk["4bit"], CPU), (on_disk["mxfp4"], CPU), (masters["qwen3_moe"], with_("8bit"))]
    for folder, config in cases:
        bare = skeleton(folder, "bare", CPU)
        assert examine(load(str(folder), config).model, cache=tmp_path) == examine(bare, cache=tmp_path)


def declare(folder: Path, **quantisation: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": quantisation}))


@pytest.mark.parametrize("method", ["gptq", "awq", "compressed-tensors", "gemma", "torchao", "hqq"])
def test_methods_that_cannot_be_read(method: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints["llama"], tmp_path / "model"))
    declare(folder, quant_method=method, bits=4)
    with pytest.raises(ModelError, match=f"quantised with {method}") as caught:
        load(str(folder), CPU)
    assert "bf16" in caught.value.hint


def test_no_second_quantisation(on_disk: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="round them twice") as caught:
        load(str(on_disk["fp8"]), with_("4bit"))
    assert "model.quantise=keep" in caught.value.hint


@pytest.mark.parametrize("case", ["on disk", "asked for"])
def test_bitsandbytes_is_optional(
    case: str, on_disk: dict[str, Path], masters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saber.model.quantised.find_spec", lambda name: None)
    folder = on_disk["4bit"] if case == "on disk" else masters["llama"]
    with pytest.raises(ModelError, match="need bitsandbytes") as caught:
        load(str(folder), CPU if case == "on disk" else with_("4bit"))
    assert "saber-llm[quantised]" in caught.value.hint


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ({}, "none"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "8bit"),
        ({"quantization_config": {"load_in_4bit": True}}, "4bit"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ({"compression_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"quantization_config": {}}, "none"),
    ],
)
def test_format_on_disk(raw: dict[str, Any], found: str) -> None:
    assert format_on_disk(raw) == found
