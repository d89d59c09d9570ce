"""The Gemma family: norms behind every writer, per-layer embeddings, parallel streams, towers."""

from __future__ import annotations

from typing import Any

from tests.zoo.common import GEMMA_SANDWICH, PLAIN, SANDWICH, base
from tests.zoo.spec import Architecture

TEXT: dict[str, Any] = base(
    num_key_value_heads=1,
    num_hidden_layers=6,
    head_dim=16,
    global_head_dim=32,
    vocab_size_per_layer_input=300,
    hidden_size_per_layer_input=8,
    num_kv_shared_layers=3,
    layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
    sliding_window=8,
    use_double_wide_mlp=True,
    final_logit_softcapping=30.0,
)
MOE: dict[str, Any] = {
    **TEXT,
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
    "use_double_wide_mlp": False,
    "enable_moe_block": True,
    "num_experts": 4,
    "top_k_experts": 2,
    "moe_intermediate_size": 24,
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
    "num_key_value_heads": 2,
}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "patch_size": 4,
    "pooling_kernel_size": 2,
    "position_embedding_size": 64,
}
_AUDIO = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "subsampling_conv_channels": [8, 4],
    "output_proj_dims": 24,
    "use_clipped_linears": True,
}
_TOKENS = {
    "image_token_id": 291,
    "video_token_id": 292,
    "audio_token_id": 293,
    "boi_token_id": 294,
    "eoi_token_id": 295,
    "boa_token_id": 296,
    "eoa_token_index": 297,
}
PER_LAYER = f"{SANDWICH}; per_layer_projection <- post_per_layer_input_norm"

ARCHITECTURES = {
    "gemma": Architecture("gemma", base(), PLAIN),
    "gemma2": Architecture("gemma2", base(sliding_window=8), GEMMA_SANDWICH),
    "gemma3": Architecture("gemma3_text", base(sliding_window=8), GEMMA_SANDWICH),
    "gemma3n": Architecture(
        "gemma3n_text",
        base(
            vocab_size_per_layer_input=300,
            hidden_size_per_layer_input=8,
            laurel_rank=10,
            num_kv_shared_layers=1,
            altup_num_inputs=4,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention"] * 2,
            intermediate_size=[96] * 4,
            activation_sparsity_pattern=[0.0] * 4,
        ),
        f"{PER_LAYER}; laurel.linear_right <- laurel.post_laurel_norm",
        inputs="model.embed_tokens [embedding 1]; model.altup_projections.*",
        leaks="Laurel adds input_layernorm(h), the normed stream itself: diag(gain) h is no weight's output",
        streams=4,
    ),
    "gemma4": Architecture("gemma4_text", TEXT, PER_LAYER),
    "gemma4_moe": Architecture(
        "gemma4_text",
        MOE,
        "self_attn.o_proj <- post_attention_layernorm"
        "; mlp.down_proj <- post_feedforward_layernorm_1 * post_feedforward_layernorm"
        "; experts.down_proj [experts 1] <- post_feedforward_layernorm_2 * post_feedforward_layernorm",
    ),
    "gemma4_mm": Architecture(
        "gemma4",
        {"text_config": TEXT, "vision_config": _VISION, "audio_config": _AUDIO, **_TOKENS},
        PER_LAYER,
        layers="model.language_model.layers",
        inputs="model.language_model.embed_tokens [embedding 1]",
    ),
}
