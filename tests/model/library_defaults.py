"""What the library's default configs of some model types lack, and which model types take no text alone."""

from __future__ import annotations

from typing import Any

_FULL = "full_attention"
_BY_TYPE = {_FULL: {"rope_type": "default", "rope_theta": 1e6}}
_INDEXER = {
    "indexer_n_heads": 16,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 256,
    "indexer_budget": 2048,
    "indexer_compress_ratio": 16,
}

SOUND: dict[str, dict[str, Any]] = {
    "aya_vision": {"vision_config": {"model_type": "siglip_vision_model", "num_attention_heads": 16}},
    "chameleon": {"vocabulary_map": {"<image>": 8711, "IMGIMGA": 4}},
    "cohere_compass": {"text_config": {"rope_parameters": _BY_TYPE}},
    "cohere_compass_text": {"rope_parameters": _BY_TYPE},
    "dbrx": {"attn_config": {"kv_n_heads": 8, "rope_theta": 500000.0, "clip_qkv": 8.0}},
    "deepseek_ocr2": {
        "text_config": {"mlp_layer_types": ["dense"] + ["sparse"] * 31, "num_experts_per_tok": 6}
    },
    "deepseek_v2": {"num_experts_per_tok": 6, "n_group": 8, "topk_group": 3},
    "diffusion_gemma": {
        "text_config": {"num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704},
        "vision_config": None,
    },
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
    "glm4_moe": {"head_dim": 128},
    "glm4v_moe": {"text_config": {"head_dim": 128}},
    "granite4_vision": {"downsample_rate": "1/2", "deepstack_layer_map": [[-1, 0], [-2, 4]]},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 64, "moe_topk": 8},
    "hunyuan_vl": {
        "text_config": {
            "head_dim": 128,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [16, 16, 16, 16]},
        }
    },
    "inkling_mm_model": {"vision_config": {"n_layers": 4}},
    "lfm2_moe": {"layer_types": ["conv", "conv", _FULL, "conv"] * 8},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "perception_lm": {"vision_config": {"model_type": "timm_wrapper", "model_args": {"embed_dim": 1024}}},
    "qwen4_exp": {"text_config": _INDEXER},
    "qwen4_exp_text": _INDEXER,
    "reformer": {"is_decoder": True},
    "step3p7": {"text_config": {"sliding_window": 512}},
    "xmod": {"default_language": "en_XX"},
}
"""What library defaults lack: without it the class itself cannot be built or run."""

_ENCODER_DECODER = "encoder and decoder: no residual stream of one decoder"
_PIXELS = "forward refuses text without an image"
_DRAFT = "draft model: runs on another model's cache"

NOT_TEXT: dict[str, str] = {
    "blip": _PIXELS,
    "blip-2": _PIXELS,
    "gemma4_assistant": _DRAFT,
    "gemma4_unified_assistant": _DRAFT,
    "idefics": _PIXELS,
    "instructblip": _PIXELS,
    "instructblipvideo": _PIXELS,
    "kosmos-2": _PIXELS,
    "musicgen": _ENCODER_DECODER,
    "musicgen_melody": _ENCODER_DECODER,
    "pi0": "robot policy: forward needs a state",
    "pix2struct": _ENCODER_DECODER,
    "pp_formulanet": _ENCODER_DECODER,
    "t5gemma2": _ENCODER_DECODER,
    "udop": _ENCODER_DECODER,
    "vision-encoder-decoder": _ENCODER_DECODER,
}
"""Model types in the mappings that take no text alone, and why."""
