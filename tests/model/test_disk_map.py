"""What lies on disk behind a writer is read off what transformers writes, number by number."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
import transformers

from saber.model.anatomy import DiskTensor, Form, Writer
from saber.model.disk_map import disk_name, disk_tensors
from tests.export import families

WRITERS = ("o_proj", "out_proj", "down_proj", "down_proj_bias", "c_proj", "w2", "wte", "wpe", "embed_tokens")


def writers(model: Any) -> list[Writer]:
    """Writers by their names: enough for models without surprises."""
    found = []
    for name, parameter in model.named_parameters():
        leaf = name.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2]
        if leaf not in WRITERS or "vision" in name:
            continue
        form, axis = _lies(name, leaf, parameter, model)
        module, shape = name.rpartition(".")[0], tuple(parameter.shape)
        found.append(Writer(name, module, None, "other", form, axis, shape))
    return found


def _lies(name: str, leaf: str, parameter: Any, model: Any) -> tuple[Form, int]:
    if leaf in ("wte", "wpe", "embed_tokens"):
        return "embedding", 1
    if parameter.ndim == 1:
        return "bias", 0
    if name.endswith("_bias"):
        return "expert_bias", 1
    if parameter.ndim == 3:
        return "experts", 2 if model.config.model_type in ("gpt_oss", "llama4_text") else 1
    return "matrix", int(leaf == "c_proj")


@pytest.mark.parametrize(
    ("family", "name", "key", "axis"),
    [
        ("llama", "model.layers.1.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight", 0),
        (
            "mixtral",
            "model.layers.0.mlp.experts.down_proj",
            "model.layers.0.block_sparse_moe.experts.{expert}.w2.weight",
            0,
        ),
        (
            "qwen3_moe",
            "model.layers.1.mlp.experts.down_proj",
            "model.layers.1.mlp.experts.{expert}.down_proj.weight",
            0,
        ),
        ("gpt_oss", "model.layers.0.mlp.experts.down_proj", "model.layers.0.mlp.experts.down_proj", 2),
        (
            "gpt_oss",
            "model.layers.0.mlp.experts.down_proj_bias",
            "model.layers.0.mlp.experts.down_proj_bias",
            1,
        ),
        (
            "granitemoehybrid",
            "model.layers.0.block_sparse_moe.experts.down_proj",
            "model.layers.0.block_sparse_moe.output_linear.weight",
            1,
        ),
        ("nemotron_h", "model.layers.0.mixer.out_proj.weight", "backbone.layers.0.mixer.out_proj.weight", 0),
        (
            "nemotron_h",
            "model.layers.1.mixer.experts.down_proj",
            "backbone.layers.1.mixer.experts.{expert}.down_proj.weight",
            0,
        ),
        (
            "lfm2_moe",
            "model.layers.1.feed_forward.experts.down_proj",
            "model.layers.1.feed_forward.experts.{expert}.w2.weight",
            0,
        ),
        (
            "gemma3_mm",
            "model.language_model.layers.2.self_attn.o_proj.weight",
            "language_model.model.layers.2.self_attn.o_proj.weight",
            0,
        ),
        ("gpt2", "transformer.h.1.attn.c_proj.weight", "transformer.h.1.attn.c_proj.weight", 1),
        ("gpt2", "transformer.wte.weight", "transformer.wte.weight", 1),
    ],
)
def test_what_holds_a_writer(family: str, name: str, key: str, axis: int) -> None:
    model = families.build(family)
    asked = writers(model)
    found = disk_tensors(model, asked)
    assert set(found) == {writer.name for writer in asked}
    assert found[name] == DiskTensor(key, axis)


@pytest.mark.parametrize("family", ["gemma3_mm", "gpt2", "deepseek_v3"])
def test_the_twin_stays_as_it_was(family: str) -> None:
    model = families.build(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    config, generation, tied = model.config.to_dict(), model.generation_config, head.weight is table.weight
    disk_tensors(model, writers(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.config.to_dict() == config
    assert model.generation_config is generation
    assert (head.weight is table.weight) == tied


def test_what_is_saved_in_another_form_has_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experts in another order, columns permuted, two writers merged: nothing of it is taken for the writer."""
    model = families.build("qwen3_moe")
    save = type(model).save_pretrained
    experts = "model.layers.0.mlp.experts.down_proj"
    first, second = (f"model.layers.{layer}.self_attn.o_proj.weight" for layer in (0, 1))

    def changed(self: Any, folder: str, state_dict: dict[str, torch.Tensor]) -> None:
        state_dict[experts] = state_dict[experts].flip(0)
        state_dict[first] = torch.cat([state_dict[first], state_dict[second]])
        state_dict[second] = state_dict[second].flip(1)
        save(self, folder, state_dict=state_dict)

    monkeypatch.setattr(type(model), "save_pretrained", changed)
    assert set(disk_tensors(model, writers(model))) == {
        "model.embed_tokens.weight",
        "model.layers.1.mlp.experts.down_proj",
    }


def test_a_name_is_found_without_values() -> None:
    with torch.device("meta"):
        model = families.build("gemma3_mm")
    assert disk_name(model, "lm_head.weight") == "language_model.lm_head.weight"


def test_deep_models_take_a_moment() -> None:
    config = transformers.Qwen3MoeConfig(
        vocab_size=64,
        hidden_size=32,
        moe_intermediate_size=12,
        num_hidden_layers=94,
        num_experts=4,
        num_experts_per_tok=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=12,
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    asked = writers(model)
    started = time.process_time()
    assert len(disk_tensors(model, asked)) == len(asked) == 2 * 94 + 1
    assert time.process_time() - started < 2.0
