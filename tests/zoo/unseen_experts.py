"""Mixtures of experts on which discovery was not developed; expectations are read from their modelling code."""

from __future__ import annotations

from typing import Any

from tests.zoo.common import (
    EXPERTS,
    FUSED,
    LATENT,
    LOCAL_EXPERTS,
    ONE_SHARED,
    PLAIN,
    ROUTED_EXPERTS,
    SHARED,
    base,
)
from tests.zoo.spec import VOCAB, Architecture

_INDEXED = {"index_n_heads": 2, "index_head_dim": 16, "index_topk": 8}
_ONE_DENSE = ["dense"] + ["sparse"] * 3
_NORMED_MLP = (
    "self_attn.o_proj <- {attention}; mlp.down_proj <- {mlp}; mlp.experts.down_proj [experts 1] <- {mlp}"
    "; mlp.shared_experts.down_proj <- {mlp}"
)
_GRANITE = "self_attn.o_proj; block_sparse_moe.experts.down_proj [experts 1]; shared_mlp.output_linear"
_ROUTED_LATENT = base("head_dim", **{**ROUTED_EXPERTS, **LATENT})
_SWA = {
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 20,
    "sliding_window_size": 8,
    "d_rel": 4,
    "rel_extent": 16,
}


def _new(model_type: str, config: dict[str, Any], writers: str = SHARED, **more: Any) -> Architecture:
    return Architecture(model_type, config, writers, unseen=True, **more)


ARCHITECTURES = {
    "afmoe": _new(
        "afmoe",
        base(**EXPERTS, num_shared_experts=1, num_dense_layers=1),
        _NORMED_MLP.format(attention="post_attention_layernorm", mlp="post_mlp_layernorm"),
    ),
    "aria_text": _new(
        "aria_text",
        base(moe_num_experts=4, moe_topk=2, moe_num_shared_experts=1),
        "self_attn.o_proj; mlp.experts.down_proj [experts 2]; mlp.shared_experts.down_proj",
    ),
    "axk1": _new(
        "axk1",
        _ROUTED_LATENT,
        "self_attn.o_proj; mlp.down_proj; mlp.experts.down_proj [experts 1] <- mlp.post_mlp_layernorm"
        "; mlp.shared_experts.down_proj <- mlp.post_mlp_layernorm",
    ),
    "axk2": _new("axk2", base("head_dim", **{**ROUTED_EXPERTS, **LATENT, **_INDEXED})),
    "cohere2_moe": _new(
        "cohere2_moe",
        base(
            num_experts=4,
            num_experts_per_tok=2,
            sliding_window=8,
            num_shared_experts=1,
            first_k_dense_replace=1,
        ),
    ),
    "dbrx": _new(
        "dbrx",
        {
            "vocab_size": VOCAB,
            "d_model": 64,
            "n_heads": 4,
            "n_layers": 4,
            "max_seq_len": 128,
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4},
            "ffn_config": {"ffn_hidden_size": 24, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 64},
            "pad_token_id": 0,
        },
        "norm_attn_norm.attn.out_proj; ffn.experts.mlp.w2 [matrix 1]",
        layers="transformer.blocks",
        inputs="transformer.wte [embedding 1]",
    ),
    "deepseek_v2": _new(
        "deepseek_v2", base("head_dim", **{**ROUTED_EXPERTS, **LATENT, "first_k_dense_replace": 1})
    ),
    "deepseek_v32": _new(
        "deepseek_v32",
        base("head_dim", **{**ROUTED_EXPERTS, **LATENT, **_INDEXED, "first_k_dense_replace": 1}),
    ),
    "deepseek_v4": _new(
        "deepseek_v4",
        base(
            **ROUTED_EXPERTS,
            q_lora_rank=12,
            o_groups=2,
            o_lora_rank=12,
            index_n_heads=2,
            index_head_dim=16,
            index_topk=4,
            sliding_window=8,
            num_key_value_heads=1,
            head_dim=16,
        ),
        "self_attn.o_b_proj; mlp.experts.down_proj [experts 1]; mlp.shared_experts.down_proj",
        streams=4,
    ),
    "dots3_note": _new(
        "dots3_note_text",
        base(
            "head_dim",
            **{**ROUTED_EXPERTS, **LATENT, **_INDEXED},
            mlp_layer_types=_ONE_DENSE,
            layer_types=["full_attention"] * 4,
            shared_experts_intermediate_size=24,
        ),
    ),
    "exaone_moe": _new("exaone_moe", base(**EXPERTS, num_shared_experts=1, sliding_window=8)),
    "flex_olmo": _new(
        "flex_olmo",
        base("head_dim", num_experts=4, num_experts_per_tok=2),
        "self_attn.o_proj <- post_attention_layernorm"
        "; mlp.experts.down_proj [experts 1] <- post_feedforward_layernorm",
    ),
    "flint": _new("flint", base(**EXPERTS, shared_expert_intermediate_size=24), f"{PLAIN}; {ONE_SHARED}"),
    "glm_moe_dsa": _new("glm_moe_dsa", base("head_dim", **{**ROUTED_EXPERTS, **LATENT, **_INDEXED})),
    "granitemoe_swa": _new(
        "granitemoe_swa", base(**LOCAL_EXPERTS, shared_intermediate_size=24, sliding_window=8), _GRANITE
    ),
    "granitemoeshared": _new(
        "granitemoeshared", base(**LOCAL_EXPERTS, shared_intermediate_size=24), _GRANITE
    ),
    "hunyuan_v1_moe": _new(
        "hunyuan_v1_moe", base(num_experts=4, moe_topk=2), f"{FUSED}; mlp.shared_mlp.down_proj"
    ),
    "hy_v3": _new("hy_v3", base(**EXPERTS)),
    "hy_v4": _new(
        "hy_v4",
        base(**{**ROUTED_EXPERTS, **LATENT, **_INDEXED}, mlp_layer_types=_ONE_DENSE),
        streams=4,
    ),
    "jetmoe": _new(
        "jetmoe",
        base(num_local_experts=4, kv_channels=20),
        "self_attention.experts.output_linear [experts 1]; self_attention.experts.bias"
        "; mlp.output_linear [experts 1]; mlp.bias",
    ),
    "kolibri1": _new(
        "kolibri1",
        base(**EXPERTS, shared_expert_intermediate_size=24),
        _NORMED_MLP.format(attention="post_self_attn_layernorm", mlp="post_mlp_layernorm"),
    ),
    "laguna": _new("laguna", base(**EXPERTS, shared_expert_intermediate_size=24)),
    "mellum": _new("mellum", base(**EXPERTS), FUSED),
    "mimo_v2_flash": _new(
        "mimo_v2_flash",
        base(
            n_routed_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=24,
            v_head_dim=16,
            swa_head_dim=20,
            swa_v_head_dim=16,
            sliding_window=8,
        ),
        f"{PLAIN}; {FUSED}",
    ),
    "minimax_m3": _new(
        "minimax_m3_vl_text",
        base(**LOCAL_EXPERTS, shared_intermediate_size=24, dense_intermediate_size=40),
    ),
    "solar_open": _new("solar_open", base(**ROUTED_EXPERTS)),
    "inkling": _new(
        "inkling_text",
        base(**ROUTED_EXPERTS, **_SWA, mlp_layer_types=_ONE_DENSE),
        "",
        inputs="model.embed_tokens [embedding 1] <- model.embed_tokens.embed_norm",
        leaks="a depthwise convolution stands behind every writer: each coordinate mixes tokens its own way",
        unexplained="self_attn.o_proj; mlp.down_proj; mlp.experts.down_proj; mlp.shared_experts.down_proj",
        changed="the kernels of convolutions behind writers count as scales, no longer as writers",
    ),
    "inkling2": _new(
        "inkling2_text",
        base(**LOCAL_EXPERTS, **_SWA),
        "",
        inputs="model.embed_tokens [embedding 1] <- model.embed_tokens.embed_norm",
        leaks="a depthwise convolution stands behind every writer: each coordinate mixes tokens its own way",
        unexplained="self_attn.o_proj; mlp.experts.down_proj",
        changed="a writer whose output is read again before any norm is reported; before, left out in silence",
    ),
}
