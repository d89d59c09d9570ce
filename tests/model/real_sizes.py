"""Configs of well-known checkpoints, written down by hand, for twins."""

from __future__ import annotations

from typing import Any

_LOCAL = "sliding_attention"
_FULL = "full_attention"
_LINEAR = "linear_attention"
_MLA_64 = {"num_attention_heads": 64, "num_key_value_heads": 64}

GEMMA_4_E4B: dict[str, Any] = {
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "num_hidden_layers": 42,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "global_head_dim": 512,
    "hidden_size_per_layer_input": 256,
    "num_kv_shared_layers": 18,
    "layer_types": ([_LOCAL] * 5 + [_FULL]) * 7,
    "sliding_window": 512,
    "final_logit_softcapping": 30.0,
}

REAL: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-3.1-8b": (
        "llama",
        {
            "vocab_size": 128256,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 131072,
            "bos_token_id": 128000,
            "eos_token_id": [128001, 128008, 128009],
            "rope_theta": 500000.0,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
        },
    ),
    "qwen3-235b-a22b": (
        "qwen3_moe",
        {
            "vocab_size": 151936,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "moe_intermediate_size": 1536,
            "num_hidden_layers": 94,
            "num_attention_heads": 64,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "rope_theta": 1000000.0,
        },
    ),
    "qwen3.5-27b": (
        "qwen3_5",
        {
            "text_config": {
                "vocab_size": 248320,
                "hidden_size": 5120,
                "intermediate_size": 17408,
                "num_hidden_layers": 64,
                "num_attention_heads": 24,
                "num_key_value_heads": 4,
                "head_dim": 256,
                "linear_num_key_heads": 16,
                "linear_num_value_heads": 48,
                "linear_key_head_dim": 128,
                "linear_value_head_dim": 128,
                "layer_types": ([_LINEAR] * 3 + [_FULL]) * 16,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 10000000.0,
                    "partial_rotary_factor": 0.25,
                    "mrope_interleaved": True,
                    "mrope_section": [11, 11, 10],
                },
            }
        },
    ),
    "qwen2.5-vl-7b": (
        "qwen2_5_vl",
        {
            "text_config": {
                "vocab_size": 152064,
                "hidden_size": 3584,
                "intermediate_size": 18944,
                "num_hidden_layers": 28,
                "num_attention_heads": 28,
                "num_key_value_heads": 4,
                "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
            },
            "vision_config": {"hidden_size": 1280, "out_hidden_size": 3584, "intermediate_size": 3420},
        },
    ),
    "gpt-oss-120b": (
        "gpt_oss",
        {
            "num_hidden_layers": 36,
            "num_local_experts": 128,
            "rope_theta": 150000.0,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 32.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "truncate": False,
                "original_max_position_embeddings": 4096,
            },
            "quantization_config": {"quant_method": "mxfp4"},
        },
    ),
    "deepseek-v3": (
        "deepseek_v3",
        {
            "rope_theta": 10000.0,
            "rope_scaling": {
                "type": "yarn",
                "factor": 40.0,
                "beta_fast": 32,
                "beta_slow": 1,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "original_max_position_embeddings": 4096,
            },
            "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
        },
    ),
    "kimi-k2": (
        "deepseek_v3",
        {"n_routed_experts": 384, "n_group": 1, "topk_group": 1, **_MLA_64},
    ),
    "gemma-3-27b": (
        "gemma3",
        {
            "text_config": {
                "hidden_size": 5376,
                "intermediate_size": 21504,
                "num_hidden_layers": 62,
                "num_attention_heads": 32,
                "num_key_value_heads": 16,
                "head_dim": 128,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            }
        },
    ),
    "gemma-4-e4b-text": ("gemma4_text", GEMMA_4_E4B),
    "gemma-4-e2b-text": (
        "gemma4_text",
        {
            **GEMMA_4_E4B,
            "hidden_size": 1536,
            "intermediate_size": 6144,
            "num_hidden_layers": 35,
            "num_key_value_heads": 1,
            "num_kv_shared_layers": 20,
            "use_double_wide_mlp": True,
            "layer_types": ([_LOCAL] * 4 + [_FULL]) * 7,
        },
    ),
    "gemma-4-e4b": ("gemma4", {"text_config": GEMMA_4_E4B, "vision_config": {}, "audio_config": {}}),
    "gemma-4-26b-a4b": (
        "gemma4",
        {
            "text_config": {
                "hidden_size": 2816,
                "intermediate_size": 2112,
                "moe_intermediate_size": 704,
                "num_hidden_layers": 30,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "num_global_key_value_heads": 2,
                "attention_k_eq_v": True,
                "hidden_size_per_layer_input": 0,
                "enable_moe_block": True,
                "num_experts": 128,
                "top_k_experts": 8,
            },
            "vision_config": {},
        },
    ),
    "phi-3-mini-128k": (
        "phi3",
        {
            "max_position_embeddings": 131072,
            "original_max_position_embeddings": 4096,
            "sliding_window": 262144,
            "rope_scaling": {
                "type": "longrope",
                "short_factor": [1.0 + 0.01 * i for i in range(48)],
                "long_factor": [1.0 + i for i in range(48)],
            },
        },
    ),
    "phi-4-mini": (
        "phi3",
        {
            "vocab_size": 200064,
            "num_attention_heads": 24,
            "num_key_value_heads": 8,
            "tie_word_embeddings": True,
            "pad_token_id": 199999,
            "bos_token_id": 199999,
            "eos_token_id": 199999,
            "partial_rotary_factor": 0.75,
            "max_position_embeddings": 131072,
            "original_max_position_embeddings": 4096,
            "rope_scaling": {
                "type": "longrope",
                "short_factor": [1.0] * 48,
                "long_factor": [1.0 + i for i in range(48)],
            },
        },
    ),
    "nemotron-h-8b": (
        "nemotron_h",
        {
            "hidden_size": 4096,
            "intermediate_size": 21504,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "layers_block_type": (["mamba", "mlp"] * 3 + ["mamba", "attention", "mlp"]) * 5,
        },
    ),
    "nemotron-3-nano": (
        "nemotron_h",
        {
            "hidden_size": 2688,
            "num_attention_heads": 32,
            "num_key_value_heads": 2,
            "head_dim": 128,
            "mamba_num_heads": 64,
            "n_routed_experts": 128,
            "num_experts_per_tok": 6,
            "moe_intermediate_size": 1856,
            "moe_shared_expert_intermediate_size": 3712,
            "layers_block_type": (["mamba", "moe"] * 3 + ["attention", "moe"]) * 6,
        },
    ),
    "granite-4-h-small": (
        "granitemoehybrid",
        {
            "vocab_size": 100352,
            "hidden_size": 4096,
            "intermediate_size": 768,
            "shared_intermediate_size": 1536,
            "num_hidden_layers": 40,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "num_local_experts": 72,
            "num_experts_per_tok": 10,
            "mamba_n_heads": 128,
            "mamba_d_head": 64,
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.0078125,
            "logits_scaling": 16.0,
            "layer_types": (["mamba"] * 5 + ["attention"] + ["mamba"] * 4) * 4,
        },
    ),
    "lfm2-1.2b": (
        "lfm2",
        {
            "hidden_size": 2048,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "layer_types": ["conv", "conv", _FULL, "conv"] * 4,
        },
    ),
    "falcon-h1-34b": (
        "falcon_h1",
        {
            "hidden_size": 5120,
            "intermediate_size": 21504,
            "num_hidden_layers": 72,
            "num_attention_heads": 20,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "mamba_d_ssm": 4096,
            "mamba_n_heads": 32,
            "mamba_d_head": 128,
            "mamba_n_groups": 2,
        },
    ),
}
"""(model_type, entries) of well-known checkpoints."""
