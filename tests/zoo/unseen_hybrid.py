"""Hybrids on which discovery was not developed; expectations are read from their modelling code."""

from __future__ import annotations

from typing import Any

from tests.zoo.common import DELTA, EXPERTS, LATENT, LOCAL_EXPERTS, ONE_SHARED, ROUTED_EXPERTS, SHARED, base
from tests.zoo.spec import VOCAB, Architecture

_ALTERNATING = ["linear_attention", "full_attention"] * 2
_LINEAR_LATENT = {**ROUTED_EXPERTS, **LATENT, "num_local_experts": 4, "layer_types": _ALTERNATING}
_RECURRENT = {"layers": "backbone.layers", "inputs": "backbone.embeddings [embedding 1]"}
_SCALED = "post_attention_residual_scale.{0} * post_mlp_residual_scale.residual_scale"


def _new(model_type: str, config: dict[str, Any], writers: str = SHARED, **more: Any) -> Architecture:
    return Architecture(model_type, config, writers, unseen=True, **more)


ARCHITECTURES = {
    "bamba": _new(
        "bamba",
        base(
            "head_dim",
            attn_layer_indices=[1, 3],
            mamba_n_heads=4,
            mamba_d_head=32,
            mamba_n_groups=1,
            mamba_d_state=8,
            mamba_chunk_size=16,
        ),
        "mamba.out_proj; self_attn.o_proj; feed_forward.down_proj",
    ),
    "bailing_hybrid": _new(
        "bailing_hybrid",
        base(
            **{k: v for k, v in _LINEAR_LATENT.items() if k != "q_lora_rank"},
            first_k_dense_replace=1,
            head_dim=8,
        ),
    ),
    "kimi_linear": _new(
        "kimi_linear",
        base(
            "head_dim",
            **{**_LINEAR_LATENT, "q_lora_rank": None},
            linear_head_dim=12,
            linear_num_heads=4,
            mlp_layer_types=["dense"] + ["sparse"] * 3,
        ),
    ),
    "lfm3": _new(
        "lfm3",
        base(layer_types=["conv", "full_attention"] * 2),
        "conv.out_proj <- post_operator_norm; self_attn.o_proj <- post_operator_norm"
        "; feed_forward.w2 <- post_ffn_norm",
    ),
    "mamba": _new("mamba", base("head_dim", state_size=8), "mixer.out_proj", **_RECURRENT),
    "falcon_mamba": _new("falcon_mamba", base("head_dim", state_size=8), "mixer.out_proj", **_RECURRENT),
    "minimax": _new(
        "minimax",
        base(**LOCAL_EXPERTS),
        "self_attn.o_proj <- post_attention_layernorm; self_attn.out_proj <- post_attention_layernorm"
        "; mlp.experts.down_proj [experts 1]",
        leaks="the residual is the normed stream: gain * h is no weight's output",
        changed="the expectation: its attention writes through the norm of the stream, as was found",
    ),
    "qwen4_exp": _new(
        "qwen4_exp_text",
        base(
            **EXPERTS,
            **{**DELTA, "layer_types": _ALTERNATING},
            shared_expert_intermediate_size=24,
            hc_count=2,
            hc_lowrank=8,
            indexer_n_heads=2,
            indexer_kv_heads=1,
            indexer_head_dim=20,
            indexer_budget=8,
            indexer_compress_ratio=4,
        ),
        f"linear_attn.out_proj; {ONE_SHARED}",
        streams=2,
        changed="parallel streams may lie side by side in one axis",
    ),
    "recurrent_gemma": _new(
        "recurrent_gemma",
        base(lru_width=72, attention_window_size=8, num_hidden_layers=6),
        "temporal_block.linear_out; temporal_block.linear_out.bias; temporal_block.o_proj"
        "; temporal_block.o_proj.bias; mlp_block.down_proj; mlp_block.down_proj.bias",
    ),
    "rwkv": _new(
        "rwkv",
        base(context_length=64),
        "attention.output",
        layers="rwkv.blocks",
        inputs="rwkv.embeddings [embedding 1]",
        leaks="the first block norms the stream itself, and a vector gate follows feed_forward.value",
        unexplained="0: attention.output; pre_ln.bias; feed_forward.receptance; feed_forward.value",
        changed="a writer whose output is read again before any norm is reported; before, left out in silence",
    ),
    "xlstm": _new(
        "xlstm",
        {
            "vocab_size": VOCAB,
            "hidden_size": 64,
            "num_hidden_layers": 4,
            "num_heads": 4,
            "chunk_size": 16,
            "qk_dim_factor": 1.0,
            "ffn_round_up_to_multiple_of": 8,
            "pad_token_id": 0,
        },
        "mlstm_layer.out_proj; ffn.proj_down",
        layers="backbone.blocks",
        inputs="backbone.embeddings [embedding 1]",
    ),
    "zamba": _new(
        "zamba",
        {
            "vocab_size": VOCAB,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "n_mamba_heads": 2,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "attn_layer_period": 3,
            "attn_layer_offset": 1,
            "max_position_embeddings": 128,
            "pad_token_id": 0,
        },
        "mamba.out_proj; mamba_decoder.mamba.out_proj",
    ),
    "zaya": _new(
        "zaya",
        base(**{**EXPERTS, "num_experts_per_tok": 1}, router_hidden_size=12),
        f"self_attn.o_proj <- {_SCALED.format('hidden_states_scale')}"
        "; mlp.experts.down_proj [experts 1] <- post_mlp_residual_scale.hidden_states_scale"
        f"; post_attention_residual_scale.hidden_states_bias <- {_SCALED.format('hidden_states_scale')}"
        f"; post_attention_residual_scale.residual_bias <- {_SCALED.format('residual_scale')}"
        "; post_mlp_residual_scale.hidden_states_bias <- post_mlp_residual_scale.hidden_states_scale"
        "; post_mlp_residual_scale.residual_bias <- post_mlp_residual_scale.residual_scale",
        inputs="model.embed_tokens [embedding 1] <- model.input_hidden_states_scale"
        "; model.input_hidden_states_bias <- model.input_hidden_states_scale",
        leaks="each block multiplies the stream by vectors (residual_scale)",
        changed="a scale on (output + bias) is told from a bias",
    ),
}
