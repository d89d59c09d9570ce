"""Tiny random models whose checkpoints lie on disk in every way that transformers knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import torch
import transformers

from tests import pico

_SMALL = {**pico.COMMON, "num_hidden_layers": 2}
_PLAIN = {name: value for name, value in _SMALL.items() if name != "head_dim"}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
_LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
_ROUTED = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "n_group": 1,
    "topk_group": 1,
}
_MLA = {
    "q_lora_rank": 12,
    "kv_lora_rank": 10,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 12,
    "v_head_dim": 14,
}
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", _SMALL),
    "llama_tied": ("llama", {**_SMALL, "tie_word_embeddings": True}),
    "gpt2": (
        "gpt2",
        {
            "vocab_size": pico.VOCAB,
            "n_embd": 64,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 256,
            "bos_token_id": 2,
            "eos_token_id": 1,
        },
    ),
    "opt": ("opt", {**_PLAIN, "ffn_dim": 96, "word_embed_proj_dim": 64, "tie_word_embeddings": False}),
    "mixtral": ("mixtral", {**_SMALL, **_LOCAL}),
    "qwen3_moe": ("qwen3_moe", {**_SMALL, **_MOE}),
    "gpt_oss": ("gpt_oss", {**_SMALL, **_LOCAL, "intermediate_size": 40, "sliding_window": 8}),
    "llama4": (
        "llama4_text",
        {
            **_SMALL,
            "intermediate_size": 40,
            "intermediate_size_mlp": 96,
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
            "interleave_moe_layer_step": 2,
            "attention_chunk_size": 128,
        },
    ),
    "granitemoehybrid": (
        "granitemoehybrid",
        {
            **_PLAIN,
            **_LOCAL,
            "shared_intermediate_size": 40,
            "layer_types": ["mamba", "attention"],
            "mamba_n_heads": 4,
            "mamba_d_head": 32,
            "mamba_n_groups": 1,
            "mamba_d_state": 8,
            "mamba_expand": 2,
            "mamba_chunk_size": 16,
            "tie_word_embeddings": True,
        },
    ),
    "nemotron_h": (
        "nemotron_h",
        {
            **_PLAIN,
            **_ROUTED,
            "num_hidden_layers": 4,
            "head_dim": 16,
            "layers_block_type": ["mamba", "moe", "attention", "mlp"],
            "moe_shared_expert_intermediate_size": 40,
            "mamba_num_heads": 4,
            "mamba_head_dim": 20,
            "n_groups": 2,
            "ssm_state_size": 8,
            "chunk_size": 16,
        },
    ),
    "lfm2_moe": (
        "lfm2_moe",
        {**_PLAIN, **_MOE, "layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    ),
    "deepseek_v3": (
        "deepseek_v3",
        {
            **_PLAIN,
            **_ROUTED,
            **_MLA,
            "num_key_value_heads": 4,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
        },
    ),
}


def build(family: str) -> Any:
    """A model of one of the families; biases and gains are random too, so that a wrong one shows."""
    seed = crc32(family.encode())
    torch.manual_seed(seed)
    made = transformers.AutoModelForCausalLM.from_config(_config(family))
    generator = torch.Generator().manual_seed(seed + 1)
    for name, parameter in made.named_parameters():
        scale = 0.3 if parameter.ndim == 1 and "norm" in name else 0.05
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * scale)
    for name, buffer in made.named_buffers():
        if name.endswith("layer_scalar"):
            buffer.fill_(0.7)
    return made.eval()


def _config(family: str) -> Any:
    if family == "gemma3_mm":
        return _gemma3_multimodal()
    if family in pico.FAMILIES and family not in _CONFIGS:
        return pico.config(family)
    kind, values = _CONFIGS[family]
    return transformers.AutoConfig.for_model(kind, **values)


def _gemma3_multimodal() -> Any:
    """In memory `model.language_model.layers.N`, on disk `language_model.model.layers.N`; a vision tower."""
    vision = transformers.SiglipVisionConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=16,
        patch_size=8,
    )
    text = transformers.Gemma3TextConfig(**pico.COMMON, **pico.WINDOW)
    return transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=250
    )


def save(family: str, folder: Path, dtype: torch.dtype, shard: str) -> None:
    """A whole checkpoint folder: weights, config, tokenizer, and files that an export must keep."""
    build(family).to(dtype).save_pretrained(folder, max_shard_size=shard)
    pico.tokenizer().save_pretrained(folder)
    (folder / "LICENSE.txt").write_text("a licence\n", encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Pico\n", encoding="utf-8")
    (folder / "processor_config.json").write_text("{}\n", encoding="utf-8")
    (folder / "original").mkdir()
    (folder / "original" / "params.json").write_text("{}\n")
