"""Bad checkpoints end in two good lines, never in a random or half-loaded model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from saber.config import ModelConfig
from saber.errors import AnatomyError, ModelError, SaberError
from saber.model.anatomy import coverage, examine
from saber.model.load import load, skeleton
from tests import pico

CPU = ModelConfig(device="cpu")


@pytest.fixture
def folder(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A private copy of the pico Llama."""
    return Path(shutil.copytree(checkpoints["llama"], tmp_path / "model"))


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


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
    assert chat.eos == (1,)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_the_one_asked_for(folder: Path, dtype: str) -> None:
    chat = load(str(folder), ModelConfig(device="cpu", dtype=dtype))
    assert next(chat.model.parameters()).dtype is getattr(torch, dtype)


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


def test_remote_code_stays_off(folder: Path) -> None:
    edit_config(folder, auto_map={"AutoModelForCausalLM": "modeling.Evil"})
    assert "trust_remote_code" in refused(folder).hint


def test_quantised_weights(folder: Path) -> None:
    edit_config(folder, quantization_config={"quant_method": "bitsandbytes"})
    assert "quantised" in refused(folder).message


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
    edit_config(folder, intermediate_size=112)
    assert "other shapes" in refused(folder).message


def test_config_that_lies_about_its_layers(folder: Path) -> None:
    edit_config(folder, num_hidden_layers=5)
    assert "missing" in refused(folder).message


def test_invalid_config_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert "not valid JSON" in refused(folder).message


def test_unusable_device(folder: Path) -> None:
    assert "not usable" in refused(folder, ModelConfig(device="cuda:9")).message


def test_unknown_family_says_what_it_found(tmp_path: Path) -> None:
    import transformers

    config = transformers.OlmoConfig(**{k: v for k, v in pico.COMMON.items() if k != "head_dim"})
    model = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(AnatomyError, match=r"self_attn\.o_proj\.weight") as caught:
        examine(model)
    assert "gemma4_text" in caught.value.hint


def test_a_parameter_that_nobody_knows_is_an_error(folder: Path) -> None:
    chat = load(str(folder), CPU)
    chat.model.model.layers[2].mlp.extra_proj = torch.nn.Linear(8, 64)
    with pytest.raises(AnatomyError, match="extra_proj"):
        examine(chat.model)
    rows = [
        row
        for row in coverage(examine(chat.model, strict=False), ("attention", "mlp"))
        if row.status == "unknown"
    ]
    assert [row.name.rpartition("layers.2.")[2] for row in rows] == [
        "mlp.extra_proj.weight",
        "mlp.extra_proj.bias",
    ]


@pytest.mark.parametrize("family", pico.FAMILIES)
def test_skeleton_has_the_anatomy_of_the_loaded_model(family: str, checkpoints: dict[str, Path]) -> None:
    bare = skeleton(checkpoints[family], family, CPU)
    assert next(bare.parameters()).device.type == "meta"
    assert examine(bare) == examine(load(str(checkpoints[family]), CPU).model)


def test_every_writer_is_listed_once_and_says_what_is_behind_it(checkpoints: dict[str, Path]) -> None:
    anatomy = examine(skeleton(checkpoints["gemma4_moe"], "moe", CPU))
    rows = list(coverage(anatomy, ("attention", "mlp")))
    assert len({row.name for row in rows}) == len(rows)
    experts = [row for row in rows if row.kind == "experts"]
    assert len(experts) == anatomy.n_layers
    assert all(row.status == "skipped" and "ablation.writers" in row.reason for row in experts)
    assert experts[0].norms == (
        "model.layers.0.post_feedforward_layernorm_2",
        "model.layers.0.post_feedforward_layernorm",
    )
    assert any(row.kind == "embedding" and row.status == "skipped" for row in rows)


@pytest.mark.parametrize("allowed", [False, True])
def test_pickles_are_downloaded_only_when_allowed(
    allowed: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(repo: str, *, allow_patterns: list[str], **_: object) -> str:
        asked.extend(allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    load("someone/something", ModelConfig(device="cpu", allow_pickle=allowed))
    assert ("pytorch_model*.bin" in asked) == allowed
    assert "*.safetensors" in asked
