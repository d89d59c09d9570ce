"""State-space models, linear attention, convolutions, and mixtures of these with attention."""

from __future__ import annotations

from tests.zoo.common import DELTA, EXPERTS, LOCAL_EXPERTS, PLAIN, base
from tests.zoo.spec import Architecture

_NEMOTRON = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "moe_shared_expert_intermediate_size": 40,
    "mamba_num_heads": 4,
    "mamba_head_dim": 20,
    "n_groups": 2,
    "ssm_state_size": 8,
    "chunk_size": 16,
    "n_group": 1,
    "topk_group": 1,
}

ARCHITECTURES = {
    "qwen3_5": Architecture("qwen3_5_text", base(**DELTA), f"linear_attn.out_proj; {PLAIN}"),
    "olmo_hybrid": Architecture(
        "olmo_hybrid",
        base(),
        "linear_attn.o_proj; self_attn.o_proj <- post_attention_layernorm"
        "; mlp.down_proj <- post_feedforward_layernorm; mlp.down_proj",
    ),
    "granitemoehybrid": Architecture(
        "granitemoehybrid",
        base(
            **LOCAL_EXPERTS,
            shared_intermediate_size=40,
            residual_multiplier=0.22,
            embedding_multiplier=12.0,
            layer_types=["mamba", "attention"] * 2,
            mamba_n_heads=4,
            mamba_d_head=32,
            mamba_n_groups=1,
            mamba_d_state=8,
            mamba_expand=2,
            mamba_chunk_size=16,
        ),
        "block_sparse_moe.experts.down_proj [experts 1]; shared_mlp.output_linear; mamba.out_proj"
        "; self_attn.o_proj",
    ),
    "nemotron_h": Architecture(
        "nemotron_h",
        base(**_NEMOTRON, layers_block_type=["mamba", "moe", "attention", "mlp"]),
        "mixer.out_proj; mixer.o_proj; mixer.down_proj; mixer.experts.down_proj [experts 1]"
        "; mixer.shared_experts.down_proj",
        inputs="model.embeddings [embedding 1]",
    ),
    "nemotron_h_latent": Architecture(
        "nemotron_h",
        base(**_NEMOTRON, layers_block_type=["mamba", "moe", "attention", "moe"], moe_latent_size=28),
        "mixer.out_proj; mixer.o_proj; mixer.fc2_latent_proj; mixer.shared_experts.down_proj",
        inputs="model.embeddings [embedding 1]",
    ),
    "lfm2": Architecture(
        "lfm2",
        base(layer_types=["conv", "full_attention"] * 2, block_auto_adjust_ff_dim=False),
        "conv.out_proj; self_attn.out_proj; feed_forward.w2",
    ),
    "lfm2_moe": Architecture(
        "lfm2_moe",
        base(**EXPERTS, layer_types=["conv", "full_attention"] * 2, num_dense_layers=1),
        "conv.out_proj; self_attn.out_proj; feed_forward.w2; feed_forward.experts.down_proj [experts 1]",
    ),
    "falcon_h1": Architecture(
        "falcon_h1",
        base(
            mamba_d_ssm=48,
            mamba_n_heads=4,
            mamba_d_head=12,
            mamba_n_groups=1,
            mamba_d_state=8,
            mamba_chunk_size=16,
        ),
        "mamba.out_proj; self_attn.o_proj; feed_forward.down_proj",
    ),
    "jamba": Architecture(
        "jamba",
        base(
            "head_dim",
            num_experts=4,
            num_experts_per_tok=2,
            attn_layer_period=2,
            attn_layer_offset=1,
            expert_layer_period=2,
            expert_layer_offset=1,
            mamba_d_state=8,
            mamba_dt_rank=4,
            use_mamba_kernels=False,
        ),
        "mamba.out_proj; self_attn.o_proj; feed_forward.down_proj; feed_forward.experts.down_proj [experts 1]",
    ),
    "mamba2": Architecture(
        "mamba2",
        base(num_heads=4, head_dim=32, n_groups=1, state_size=8, chunk_size=16, expand=2),
        "mixer.out_proj",
        layers="backbone.layers",
        inputs="backbone.embeddings [embedding 1]",
    ),
    "zamba2": Architecture(
        "zamba2",
        base(
            layers_block_type=["mamba", "hybrid"] * 2,
            mamba_ngroups=1,
            n_mamba_heads=4,
            mamba_d_state=8,
            mamba_expand=2,
            mamba_headdim=32,
            chunk_size=16,
            use_mem_rope=False,
        ),
        "mamba.out_proj; mamba_decoder.mamba.out_proj",  # the shared transformer only feeds the mamba's input
    ),
}
