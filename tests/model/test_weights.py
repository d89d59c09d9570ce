"""A weight reads the same whatever holds it, and an edit in place that would be lost is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from saber.ablation.apply import InPlace, applied, digest
from saber.config import ModelConfig
from saber.errors import EditError, ModelError
from saber.model.load import load, skeleton
from saber.model.weights import held, offloaded, read_weight, require_plain, shape_of, weight_names
from tests.model import by_hand

DOWN = "model.layers.1.mlp.down_proj.weight"
ON_DISK = ModelConfig(max_memory=("cpu=420KB",), offload="disk")
"""A limit that leaves about half of the pico Llama on the disk."""


@pytest.fixture(scope="module")
def moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_hand.save(by_hand.tiny("qwen3_moe"), tmp_path_factory.mktemp("moe") / "model")


def test_a_plain_weight_is_not_copied(checkpoints: dict[str, Path]) -> None:
    model = load(str(checkpoints["llama"]), ModelConfig(device="cpu")).model
    assert held(model, DOWN) == "plain"
    assert read_weight(model, DOWN).data_ptr() == model.get_parameter(DOWN).data_ptr()
    assert shape_of(model, DOWN) == (64, 96)
    require_plain(model, DOWN)


def test_names_that_are_not_there() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False)})
    for name in ("a.bias", "b.weight", "a.weight.x"):
        with pytest.raises(EditError, match="no parameter"):
            read_weight(model, name)


def test_a_skeleton_has_shapes_and_no_values(checkpoints: dict[str, Path]) -> None:
    bare = skeleton(checkpoints["llama"], "x", ModelConfig())
    assert shape_of(bare, DOWN) == (64, 96)
    with pytest.raises(EditError, match="built without weights"):
        read_weight(bare, DOWN)


@pytest.mark.parametrize("family", ["llama", "gemma4", "moe"])
def test_offloaded_weights_are_read_where_they_lie(
    family: str, checkpoints: dict[str, Path], moe: Path
) -> None:
    """On the disk in the checkpoint itself, or (merged experts) in a folder of accelerate's."""
    folder = str(moe if family == "moe" else checkpoints[family])
    whole = load(folder, ModelConfig(device="cpu")).model
    chat = load(folder, ON_DISK)
    away = offloaded(chat.model)
    assert len(away) > 3
    assert "kept on the disk" in chat.notes[0]
    for name, parameter in whole.named_parameters():
        assert torch.equal(read_weight(chat.model, name), parameter)
        assert shape_of(chat.model, name) == tuple(parameter.shape)
        assert held(chat.model, name) == ("offloaded" if name in away else "plain")
    assert set(offloaded(chat.model)) == set(away)  # reading moved nothing
    assert torch.equal(by_hand.logits(chat.model), by_hand.logits(whole))


def test_hooks_edit_offloaded_weights_and_in_place_is_refused(checkpoints: dict[str, Path]) -> None:
    whole = load(str(checkpoints["llama"]), ModelConfig(device="cpu")).model
    away = load(str(checkpoints["llama"]), ON_DISK).model
    anatomy = by_hand.anatomy(whole)
    edits = by_hand.edits(whole, anatomy)
    assert by_hand.edits(away, by_hand.anatomy(away)).sha256 == edits.sha256
    base = by_hand.logits(whole)
    with applied(whole, anatomy, edits):
        wanted = by_hand.logits(whole)
    with applied(away, anatomy, edits):
        assert torch.equal(by_hand.logits(away), wanted)
    assert not torch.equal(base, wanted)
    with pytest.raises(EditError, match="would be lost") as caught:
        InPlace(away, anatomy, edits)
    assert "hooks" in caught.value.hint


def test_inputs_go_where_an_offloaded_embedding_runs(checkpoints: dict[str, Path]) -> None:
    chat = load(str(checkpoints["llama"]), ModelConfig(max_memory=("cpu=1KB",), offload="disk"))
    assert chat.model.get_input_embeddings().weight.is_meta
    assert chat.device == torch.device("cpu")


@pytest.mark.parametrize("allowed", ["refuse", "cpu"])
def test_offloading_is_refused_unless_allowed(allowed: Any, checkpoints: dict[str, Path]) -> None:
    config = ModelConfig(max_memory=("cpu=420KB",), offload=allowed)
    with pytest.raises(ModelError, match="kept on the disk") as caught:
        load(str(checkpoints["llama"]), config)
    assert "model.offload=disk" in caught.value.hint


@pytest.mark.parametrize("settings", [{"offload": "disk"}, {"max_memory": ("cpu=1GB",)}])
def test_a_device_for_all_leaves_nothing_to_place(settings: Any, checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="--device cpu says where all go"):
        load(str(checkpoints["llama"]), ModelConfig(device="cpu", **settings))


@pytest.mark.parametrize("dims", [(64, 96), (70, 100)])
def test_fp8_linear(dims: tuple[int, int]) -> None:
    """The modules that run on GPUs with FP8; their forward needs such a GPU, their numbers do not."""
    from transformers.integrations.finegrained_fp8 import FP8Linear

    linear = FP8Linear(dims[1], dims[0], block_size=(32, 32))
    numbers = torch.randn(dims).to(torch.float8_e4m3fn)
    scales = torch.rand(linear.weight_scale_inv.shape) + 0.5
    linear.weight = nn.Parameter(numbers, requires_grad=False)
    linear.weight_scale_inv = nn.Parameter(scales)
    model = nn.ModuleDict({"down_proj": linear})
    grid = scales.repeat_interleave(32, 0)[: dims[0]].repeat_interleave(32, 1)[:, : dims[1]]
    assert held(model, "down_proj.weight") == "fp8"
    assert shape_of(model, "down_proj.weight") == dims
    assert torch.equal(read_weight(model, "down_proj.weight"), numbers.float() * grid)
    with pytest.raises(EditError, match="a quarter of its direction") as caught:
        require_plain(model, "down_proj.weight")
    assert "dequantised" in caught.value.hint


@pytest.mark.parametrize("scheme", ["blocks", "one scale", "two in a byte"])
def test_fp8_experts(scheme: str) -> None:
    from transformers.integrations.finegrained_fp8 import FP8Experts

    config = transformers.Qwen3MoeConfig(hidden_size=64, moe_intermediate_size=96, num_experts=3)
    packed = scheme == "two in a byte"
    experts = FP8Experts(
        config,
        block_size=None if scheme == "one scale" else (32, 32),
        expert_dtype="fp4" if packed else "fp8",
    )
    model = nn.ModuleDict({"experts": experts})
    scales = torch.rand(experts.down_proj_scale_inv.shape) + 0.5
    experts.down_proj_scale_inv.data.copy_(scales)
    if packed:
        code = torch.randint(0, 16, (3, 64, 96))
        experts.down_proj.data.copy_(
            (code[..., 0::2] | (code[..., 1::2] << 4)).to(torch.uint8).view(torch.int8)
        )
        values = torch.cat((by_hand.E2M1, -by_hand.E2M1))[code]
        grid = scales.repeat_interleave(32, 2)
    else:
        experts.down_proj.data.copy_(torch.randn(3, 64, 96))
        values = experts.down_proj.float()
        grid = scales if scheme == "one scale" else scales.repeat_interleave(32, 1).repeat_interleave(32, 2)
    assert held(model, "experts.down_proj") == "fp8"
    assert shape_of(model, "experts.down_proj") == (3, 64, 96)
    assert torch.equal(read_weight(model, "experts.down_proj"), values * grid)


def test_mxfp4_experts() -> None:
    """The module that runs on GPUs; the kernel's own layout is stood in for by one that reorders nothing."""
    from transformers.integrations.mxfp4 import Mxfp4GptOssExperts

    weight = torch.randn(4, 96, 64) * 0.1  # (experts, d_in, d_model)
    blocks, scales, values = by_hand.mxfp4(weight)
    config = transformers.GptOssConfig(hidden_size=64, intermediate_size=96, num_local_experts=4)
    experts = Mxfp4GptOssExperts(config)
    layout = SimpleNamespace(unswizzle_data=lambda data: data)
    hold = lambda data: SimpleNamespace(storage=SimpleNamespace(layout=layout, data=data.transpose(-1, -2)))  # noqa: E731
    del experts._parameters["down_proj"]
    experts.down_proj = hold(blocks.flatten(2))
    experts.down_proj_precision_config = SimpleNamespace(weight_scale=hold(scales))
    model = nn.ModuleDict({"experts": experts})
    assert "experts.down_proj" in set(weight_names(model))
    assert held(model, "experts.down_proj") == "mxfp4"
    assert shape_of(model, "experts.down_proj") == (4, 96, 64)
    assert torch.equal(read_weight(model, "experts.down_proj"), values)
    assert shape_of(model, "experts.gate_up_proj") == (4, 64, 192)
    with pytest.raises(EditError, match="MXFP4"):
        require_plain(model, "experts.down_proj")


def test_what_is_read_has_one_digest(checkpoints: dict[str, Path]) -> None:
    whole = load(str(checkpoints["llama"]), ModelConfig(device="cpu")).model
    away = load(str(checkpoints["llama"]), ON_DISK).model
    assert digest(read_weight(whole, DOWN)) == digest(read_weight(away, DOWN))
