"""Mixtures of experts: fused parameters of three axes, in either layout."""

from __future__ import annotations

from tests.zoo.common import (
    DELTA,
    EXPERTS,
    FUSED,
    LATENT,
    LOCAL_EXPERTS,
    ONE_SHARED,
    ROUTED_EXPERTS,
    SHARED,
    base,
)
from tests.zoo.spec import Architecture

_FIRST_DENSE = {**ROUTED_EXPERTS, "first_k_dense_replace": 1}

ARCHITECTURES = {
    "llama4": Architecture(
        "llama4_text",
        base(
            **{**LOCAL_EXPERTS, "num_experts_per_tok": 1},
            intermediate_size=40,
            intermediate_size_mlp=96,
            interleave_moe_layer_step=2,
            attention_chunk_size=8,
        ),
        "self_attn.o_proj; feed_forward.down_proj; feed_forward.experts.down_proj [experts 2]"
        "; feed_forward.shared_expert.down_proj",
    ),
    "qwen2_moe": Architecture("qwen2_moe", base(**EXPERTS, shared_expert_intermediate_size=40), ONE_SHARED),
    "qwen3_moe": Architecture("qwen3_moe", base(**EXPERTS), FUSED),
    "qwen3_next": Architecture(
        "qwen3_next",
        base(**EXPERTS, **DELTA, shared_expert_intermediate_size=40),
        f"linear_attn.out_proj; {ONE_SHARED}",
    ),
    "qwen3_5_moe": Architecture(
        "qwen3_5_moe_text",
        base(**EXPERTS, **DELTA, shared_expert_intermediate_size=40),
        f"linear_attn.out_proj; {ONE_SHARED}",
    ),
    "gpt_oss": Architecture(
        "gpt_oss",
        base(**LOCAL_EXPERTS, intermediate_size=40, sliding_window=8),
        "self_attn.o_proj; self_attn.o_proj.bias; mlp.experts.down_proj [experts 2]"
        "; mlp.experts.down_proj_bias [expert_bias 1]",
    ),
    "phimoe": Architecture("phimoe", base(**LOCAL_EXPERTS), FUSED),
    "glm4_moe": Architecture("glm4_moe", base(**_FIRST_DENSE), SHARED),
    "glm4_moe_lite": Architecture("glm4_moe_lite", base("head_dim", **{**ROUTED_EXPERTS, **LATENT}), SHARED),
    "deepseek_v3": Architecture(
        "deepseek_v3", base("head_dim", **{**_FIRST_DENSE, **LATENT, "n_group": 2}), SHARED
    ),
    "olmoe": Architecture("olmoe", base("head_dim", num_experts=4, num_experts_per_tok=2), FUSED),
    "granitemoe": Architecture(
        "granitemoe",
        base(**LOCAL_EXPERTS, residual_multiplier=0.22),
        "self_attn.o_proj; block_sparse_moe.experts.down_proj [experts 1]",
    ),
    "ernie4_5_moe": Architecture(
        "ernie4_5_moe",
        base(
            moe_num_experts=4,
            moe_k=2,
            moe_intermediate_size=24,
            moe_num_shared_experts=1,
            moe_layer_start_index=1,
        ),
        SHARED,
    ),
    "mixtral": Architecture("mixtral", base(**LOCAL_EXPERTS), FUSED),
    "minimax_m2": Architecture("minimax_m2", base(**LOCAL_EXPERTS), FUSED),
    "dots1": Architecture("dots1", base(**_FIRST_DENSE), SHARED),
    "longcat_flash": Architecture(
        "longcat_flash",
        base(
            "num_hidden_layers",
            **LATENT,
            num_layers=2,
            ffn_hidden_size=96,
            expert_ffn_hidden_size=24,
            n_routed_experts=4,
            zero_expert_num=2,
            moe_topk=2,
            head_dim=8,
        ),
        "mlp.experts.down_proj [experts 1]; self_attn.*.o_proj; mlps.*.down_proj",
        leaks="identity experts add the normed stream itself: diag(gain) h is no weight's output",
    ),
}
