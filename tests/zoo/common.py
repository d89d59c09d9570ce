"""Pieces of configs and of expectations that many architectures share."""

from __future__ import annotations

from typing import Any

from tests.zoo.spec import BASE


def base(*dropped: str, **changed: Any) -> dict[str, Any]:
    """The shared config without some names and with others."""
    return {**{name: value for name, value in BASE.items() if name not in dropped}, **changed}


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
ROUTED_EXPERTS = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
}
LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 12,
    "kv_lora_rank": 10,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 12,
    "v_head_dim": 14,
}
DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 12,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
}

PLAIN = "self_attn.o_proj; mlp.down_proj"
SANDWICH = "self_attn.o_proj <- post_attention_layernorm; mlp.down_proj <- post_feedforward_layernorm"
GEMMA_SANDWICH = SANDWICH.replace("<- ", "<- 1+")
FUSED = "self_attn.o_proj; mlp.experts.down_proj [experts 1]"
SHARED = f"{PLAIN}; mlp.experts.down_proj [experts 1]; mlp.shared_experts.down_proj"
ONE_SHARED = f"{FUSED}; mlp.shared_expert.down_proj"
