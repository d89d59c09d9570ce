"""Twins: the names, depth and pattern of real models in small, on configs of real size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM, PreTrainedConfig

from saber.errors import AnatomyError
from saber.model.twin import D_MODEL, build_twin, shrink, twin_inputs
from saber.model.twin.rope import split
from tests.model.twin_check import check, real_model

CHECKED = (
    "llama-3.1-8b",
    "qwen3-235b-a22b",
    "qwen3.5-27b",
    "qwen2.5-vl-7b",
    "gpt-oss-120b",
    "deepseek-v3",
    "gemma-4-e4b",
    "gemma-4-26b-a4b",
    "phi-3-mini-128k",
    "phi-4-mini",
    "nemotron-3-nano",
    "granite-4-h-small",
    "lfm2-1.2b",
    # library defaults, for what they need: grouped state space, shared blocks, chunks, streams beside the stream
    "gpt2",
    "mamba2",
    "zamba2",
    "llama4_text",
    "gemma3n_text",
    "deepseek_v4",
)
TILED = ("gpt2", "lfm2-1.2b", "phi-3-mini-128k", "phi-4-mini", "zamba2")
"""Classes that tile the stream with their heads, so that 4 heads of 16 cannot be avoided."""


def small(name: str) -> Any:
    return shrink(real_model(name)[1])


def decoder(name: str) -> Any:
    return small(name).get_text_config()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CHECKED)
def test_a_twin_has_the_names_of_the_real_model_and_runs(name: str) -> None:
    found = check(name)
    assert found.differing == ()
    assert sum(parameter.numel() for parameter in found.twin.parameters()) < 8e6
    if name not in TILED:
        assert found.ambiguous == ()
    for parameter in found.twin.parameters():
        assert parameter.device.type == "cpu"
        if parameter.is_floating_point():
            assert parameter.dtype == torch.float32
            assert parameter.numel() == 1 or bool((parameter != parameter.flatten()[0]).any())
            assert bool(parameter.any())
    for buffer_name, buffer in found.twin.named_buffers():
        if buffer_name.endswith("layer_scalar"):
            assert torch.equal(buffer, torch.full_like(buffer, 0.7))


def test_the_same_seed_gives_the_same_weights_and_no_trace() -> None:
    model_class, config = real_model("gemma-4-e2b-text")
    before = torch.random.get_rng_state()
    one, same, other = (build_twin(model_class, config, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_depth_pattern_and_flags_are_those_of_the_real_config() -> None:
    real = real_model("gemma-4-e2b-text")[1]
    twin = shrink(real)
    kept = (
        "num_hidden_layers",
        "layer_types",
        "num_kv_shared_layers",
        "final_logit_softcapping",
        "rms_norm_eps",
    )
    kept += ("tie_word_embeddings", "use_double_wide_mlp", "hidden_activation", "kv_sharing_modes")
    assert all(getattr(twin, key) == getattr(real, key) for key in kept)
    granite, small_granite = real_model("granite-4-h-small")[1], small("granite-4-h-small")
    for key in ("residual_multiplier", "embedding_multiplier", "attention_multiplier", "layer_types"):
        assert getattr(small_granite, key) == getattr(granite, key)
    assert type(twin) is type(real)
    assert (twin.dtype, twin._attn_implementation, twin._experts_implementation) == (
        torch.float32,
        "eager",
        "eager",
    )
    assert not hasattr(small("gpt-oss-120b"), "quantization_config")


@pytest.mark.parametrize(
    ("entries", "heads"),
    [
        ({"num_attention_heads": 32, "num_key_value_heads": 32}, (4, 4)),
        ({"num_attention_heads": 32, "num_key_value_heads": 8}, (4, 2)),
        ({"num_attention_heads": 64, "num_key_value_heads": 1}, (4, 1)),
        ({"num_attention_heads": 2, "num_key_value_heads": 2}, (2, 2)),
    ],
)
def test_key_heads_keep_their_relation_to_query_heads(
    entries: dict[str, int], heads: tuple[int, int]
) -> None:
    twin = shrink(LlamaConfig(hidden_size=4096, head_dim=128, **entries))
    assert (twin.num_attention_heads, twin.num_key_value_heads) == heads


def test_sizes_stay_consistent() -> None:
    latent = decoder("deepseek-v3")
    assert latent.qk_head_dim == latent.qk_nope_head_dim + latent.qk_rope_head_dim
    assert latent.head_dim == latent.qk_rope_head_dim
    assert latent.num_key_value_heads == latent.num_attention_heads
    assert (latent.n_routed_experts, latent.num_experts_per_tok, latent.n_group, latent.topk_group) == (
        4,
        2,
        2,
        1,
    )
    hybrid = decoder("granite-4-h-small")
    assert hybrid.mamba_n_heads * hybrid.mamba_d_head == hybrid.mamba_expand * hybrid.hidden_size
    both = decoder("falcon-h1-34b")
    assert both.mamba_n_heads * both.mamba_d_head == both.mamba_d_ssm
    widths = [latent.intermediate_size, latent.moe_intermediate_size, latent.q_lora_rank, latent.kv_lora_rank]
    assert len({*widths, D_MODEL}) == 5


def test_single_layers_keep_what_is_their_own() -> None:
    twin = decoder("gemma-4-26b-a4b")
    local, wide = (
        twin.per_layer_config[layer_type] for layer_type in ("sliding_attention", "full_attention")
    )
    assert (local.head_dim, wide.head_dim) == (24, 48)
    assert (local.num_key_value_heads, wide.num_key_value_heads) == (2, 2)
    sparse = shrink(AutoConfig.for_model("gemma3n_text", intermediate_size=[8192] * 10 + [16384] * 25))
    assert len(sparse.intermediate_size) == 35
    assert len(set(sparse.intermediate_size)) == 2


def test_token_ids_stay_distinct_and_inside_the_vocabulary() -> None:
    twin = small("gemma-4-e4b")
    keys = (
        "image_token_id",
        "audio_token_id",
        "video_token_id",
        "boi_token_id",
        "eoi_token_id",
        "eoa_token_index",
    )
    ids = [getattr(twin, key) for key in keys]
    assert len(set(ids)) == len(ids)
    assert max(ids) < twin.get_text_config().vocab_size
    llama = small("llama-3.1-8b")
    assert len({llama.bos_token_id, *llama.eos_token_id}) == 4
    model = build_twin(*real_model("llama-3.1-8b"))
    inputs = twin_inputs(model)
    assert not {llama.bos_token_id, *llama.eos_token_id} & set(inputs["input_ids"].flatten().tolist())
    assert inputs["input_ids"].shape == (1, 12)


def test_rotary_embeddings_lose_their_stretching_and_fit_narrow_heads() -> None:
    llama = small("llama-3.1-8b").rope_parameters
    assert (llama["rope_type"], llama["factor"], llama["rope_theta"]) == ("linear", 1.0, 500000.0)
    phi = small("phi-4-mini").rope_parameters
    assert phi["partial_rotary_factor"] == 0.75
    assert not {"short_factor", "long_factor"} & set(phi)
    vision = decoder("qwen2.5-vl-7b")
    half = vision.hidden_size // vision.num_attention_heads // 2
    assert sum(vision.rope_parameters["mrope_section"]) == half
    gemma = decoder("gemma-4-e4b").rope_parameters
    assert gemma["full_attention"]["rope_type"] == "proportional"
    assert gemma["full_attention"]["rope_theta"] != gemma["sliding_attention"]["rope_theta"]


@pytest.mark.parametrize(
    ("sections", "total", "expected"),
    [
        ([16, 24, 24], 8, [2, 3, 3]),
        ([22, 22, 20], 8, [3, 3, 2]),
        ([24, 20, 20], 12, [4, 4, 4]),
        ([11, 11, 10], 3, [1, 1, 1]),
        ([8, 12, 12], 4, [2, 1, 1]),
    ],
)
def test_rotary_sections_keep_their_proportions(sections: list[int], total: int, expected: list[int]) -> None:
    assert split(sections, total) == expected


def test_towers_shrink_and_meet_the_stream() -> None:
    found = small("qwen2.5-vl-7b")
    assert found.vision_config.out_hidden_size == D_MODEL
    assert found.vision_config.hidden_size != D_MODEL
    assert found.vision_config.depth == real_model("qwen2.5-vl-7b")[1].vision_config.depth


@pytest.mark.filterwarnings("ignore")
def test_a_tower_from_timm_gets_a_stand_in() -> None:
    twin = build_twin(*real_model("gemma3n"))
    with torch.no_grad():
        assert bool(twin(**twin_inputs(twin)).logits.isfinite().all())


def test_unknown_families_shrink_by_the_sound_of_their_keys() -> None:
    config = PreTrainedConfig(
        hidden_size=7168,
        n_heads=56,
        n_kv_heads=8,
        moe_ffn_dim=2048,
        router_latent_dim=7168,
        adapter_features=4096,
        padded_vocab_size=151680,
        seq_length=32768,
        image_token_id=151655,
        attention={"num_query_heads": 56, "head_size": 128},
        vision_config={"hidden_size": 1280, "num_layers": 32},
        block_configs=[{"ffn_hidden_size": 18432, "layer_idx": 40}],
    )
    twin = shrink(config)
    assert (twin.hidden_size, twin.n_heads, twin.n_kv_heads, twin.router_latent_dim) == (64, 4, 2, 64)
    assert (twin.moe_ffn_dim, twin.adapter_features) == (112, 48)
    assert (twin.padded_vocab_size, twin.seq_length, twin.image_token_id) == (320, 128, 319)
    assert twin.attention == {"num_query_heads": 4, "head_size": 24}
    assert twin.vision_config == {"hidden_size": 48, "num_layers": 32}
    assert twin.block_configs == [{"ffn_hidden_size": 112, "layer_idx": 40}]


class Stubborn(LlamaForCausalLM):
    """A class whose sizes are written into its code."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.head = nn.Linear(config.hidden_size, 4096)
        if config.hidden_size % 128:
            raise ValueError("hidden_size must be a multiple of 128")


class Wide(LlamaForCausalLM):
    """A class with a width that no config key names."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.table = nn.Embedding(1_000_000, 4096)


@pytest.mark.parametrize(
    ("model_class", "reason"), [(Stubborn, "multiple of 128"), (Wide, r"\(1000000, 4096\)")]
)
def test_a_class_that_cannot_be_small_says_why(model_class: type[LlamaForCausalLM], reason: str) -> None:
    with pytest.raises(AnatomyError, match=reason) as caught:
        build_twin(model_class, LlamaConfig(num_hidden_layers=2))
    assert model_class.__name__ in caught.value.message
    assert "hidden_size=64" in caught.value.message
    assert caught.value.hint


def test_gradients_reach_every_writer() -> None:
    twin = build_twin(*real_model("gemma-4-e2b-text"))
    twin(**twin_inputs(twin)).logits.square().mean().backward()
    for name, parameter in twin.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight", "per_layer_projection.weight")):
            assert parameter.grad is not None
            assert bool(parameter.grad.any()), name


class Careless(LlamaForCausalLM):
    """A class whose initialisation leaves parameters out."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.extra = nn.Parameter(torch.empty(config.hidden_size, 3))
        self.gate = nn.Parameter(torch.empty(1))
        self.register_buffer("running", torch.empty(4))


def test_memory_left_uninitialised_is_filled_from_the_seed() -> None:
    one, same = (build_twin(Careless, LlamaConfig(num_hidden_layers=1), seed=5) for _ in range(2))
    assert torch.equal(one.extra, same.extra)
    assert 0.02 < float(one.extra.detach().std()) < 0.1
    assert float(one.gate.detach()) > 0.1
    assert torch.equal(one.running, torch.zeros(4))
