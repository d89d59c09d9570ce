"""Bad checkpoints end in two good lines, never in a random or half-loaded model."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from saber.config import ModelConfig
from saber.errors import ModelError, SaberError
from saber.model.load import load, skeleton
from saber.model.locate import locate
from tests import pico

CPU = ModelConfig(device="cpu")


@pytest.fixture
def folder(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A private copy of the pico Llama."""
    return Path(shutil.copytree(checkpoints["llama"], tmp_path / "model"))


def add_tensors(folder: Path, **tensors: torch.Tensor) -> None:
    path = folder / "model.safetensors"
    save_file({**load_file(path), **tensors}, path, {"format": "pt"})


def refused(name: Path | str, config: ModelConfig = CPU) -> SaberError:
    with pytest.raises(ModelError) as caught:
        load(str(name), config)
    assert caught.value.hint
    return caught.value


def test_loads_what_the_folder_holds(folder: Path) -> None:
    chat = load(str(folder), CPU)
    assert chat.dtype is torch.float32
    assert not any(p.requires_grad for p in chat.model.parameters())
    assert chat.tokenizer.padding_side == "left"
    assert chat.eos == (1, 4)  # <eos>, and </turn>, which the template writes behind an answer
    assert chat.notes == ()
    assert (chat.quantisation.on_disk, chat.quantisation.in_memory) == ("none", "none")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_the_one_asked_for(folder: Path, dtype: str) -> None:
    chat = load(str(folder), ModelConfig(device="cpu", dtype=dtype))
    assert next(chat.model.parameters()).dtype is getattr(torch, dtype)


def test_what_transformers_keeps_in_float32_stays_in_float32(folder: Path) -> None:
    """`model.to(bfloat16)` would round the rotary frequencies, and with them every answer."""
    chat = load(str(folder), ModelConfig(device="cpu", dtype="bfloat16"))
    assert {b.dtype for n, b in chat.model.named_buffers() if "inv_freq" in n} == {torch.float32}
    own = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    ids = torch.arange(40)[None] + 6
    with torch.no_grad():
        assert torch.equal(chat.model(ids).logits, own(ids).logits)
        assert not torch.equal(chat.model(ids).logits, own.to(torch.bfloat16)(ids).logits)


def test_not_found() -> None:
    assert "not a folder" in refused("./no/such/place").message
    assert "neither a folder nor available" in refused("someone/something").message


def test_not_a_checkpoint(tmp_path: Path) -> None:
    assert "no config.json" in refused(tmp_path).message


def test_not_a_chat_model(folder: Path) -> None:
    for file in folder.glob("chat_template*"):
        file.unlink()
    assert "not a chat model" in refused(folder).message


def test_pickle_only_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    error = refused(folder)
    assert "no .safetensors" in error.message
    assert "allow_pickle" in error.hint


@pytest.mark.parametrize("keep", [8, 200, -64])
def test_corrupt_shard(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "corrupt" in refused(folder).message


def test_missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    error = refused(folder)
    assert "1 tensors are missing" in error.message
    assert "model.layers.1.mlp.down_proj.weight" in error.message


def test_config_of_another_model(folder: Path) -> None:
    pico.edit_config(folder, intermediate_size=112)
    assert "other shapes" in refused(folder).message


@pytest.mark.parametrize(("layers", "what"), [(5, "missing"), (3, "9 tensors .* have no place")])
def test_config_that_lies_about_its_layers(folder: Path, layers: int, what: str) -> None:
    pico.edit_config(folder, num_hidden_layers=layers)
    assert re.search(what, refused(folder).message)


def test_a_head_that_the_class_leaves_out(folder: Path) -> None:
    """A reward model that was saved with the config of a chat model."""
    add_tensors(folder, **{"score.weight": torch.zeros(1, 64)})
    assert "1 tensors of the checkpoint have no place" in refused(folder).message


def test_leftovers_of_older_releases_do_no_harm(folder: Path) -> None:
    names = ("rotary_emb.inv_freq", "attention.masked_bias", "attention.bias", "attn.bias")
    add_tensors(folder, **{f"model.layers.0.self_attn.{name}": torch.zeros(8) for name in names})
    add_tensors(folder, **{"mtp.fc.weight": torch.zeros(8, 8)})
    assert load(str(folder), CPU).model.config.num_hidden_layers == 4


def test_a_learned_bias_is_no_leftover(folder: Path) -> None:
    add_tensors(folder, **{"model.layers.0.self_attn.o_proj.bias": torch.zeros(64)})
    assert "self_attn.o_proj.bias" in refused(folder).message


@pytest.mark.parametrize("wrong", [{"model_type": "nobody_knows"}, {"head_dim": 15}, {"hidden_size": "x"}])
def test_a_config_that_transformers_does_not_take(wrong: dict[str, Any], folder: Path) -> None:
    pico.edit_config(folder, **wrong)
    assert "cannot read its config" in refused(folder).message


def test_invalid_config_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert "not valid JSON" in refused(folder).message


def test_unusable_device(folder: Path) -> None:
    assert "not usable" in refused(folder, ModelConfig(device="cuda:9")).message


@pytest.mark.parametrize("family", pico.FAMILIES)
def test_skeleton_is_the_class_that_is_loaded(family: str, checkpoints: dict[str, Path]) -> None:
    bare = skeleton(checkpoints[family], family, CPU)
    model = load(str(checkpoints[family]), CPU).model
    assert type(bare) is type(model)
    assert {p.device.type for p in bare.parameters()} == {"meta"}
    shapes = {name: p.shape for name, p in model.named_parameters()}
    assert {name: p.shape for name, p in bare.named_parameters()} == shapes


def test_skeleton_needs_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert type(skeleton(folder, "bare", CPU)).__name__ == "LlamaForCausalLM"


@pytest.mark.parametrize(("allowed", "weights"), [(False, True), (True, True), (True, False)])
def test_what_is_downloaded(
    allowed: bool, weights: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(repo: str, *, allow_patterns: list[str], **_: object) -> str:
        asked.extend(allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert locate("someone/something", pickles=allowed, weights=weights)[0] == folder
    assert ("pytorch_model*.bin" in asked) == (allowed and weights)
    assert ("*.safetensors" in asked) == weights
    assert "*.json" in asked
