"""What no key name tells, family by family, as data.

Keys of the tables are a config's `model_type`; values are config entries of the twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FLAGS: Mapping[str, Any] = {
    # Jamba and Zamba refuse to run their own kernels on a CPU; the slow path has the same parameters.
    "use_mamba_kernels": False,
}
"""Entries of any config that has them."""

_TILED: Mapping[str, Any] = {"head_dim": 16}

OVERRIDES: Mapping[str, Mapping[str, Any]] = {
    # o_proj is hidden_size x hidden_size whatever head_dim says.
    "helium": _TILED,
    # Attention computes hidden_size // heads, the rotary embedding reads head_dim.
    "blt_local_encoder": _TILED,
    "blt_local_decoder": _TILED,
    "blt_patcher": _TILED,
    # The global transformer runs on patches of cross_attn_k = 2 local states.
    "blt_global_transformer": {"hidden_size": 128, "head_dim": 32},
    # At 128 tokens an entry, heavily compressed attention would have nothing to read in a short text.
    "deepseek_v4": {"compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 4}},
    # Positions are a grid whose two parts add up to the stream.
    "reformer": {"axial_pos_embds_dim": (16, 48)},
    # The patch size decides the widths of this encoder: 40 makes the widest 614,400.
    "inkling_vision": {"patch_size": 4},
    # Soft tokens have ids of their own behind the text vocabulary; text must stay below them.
    "gemma3n_vision": {"vocab_size": 8, "vocab_offset": 264},
    "gemma3n_audio": {"vocab_size": 8, "vocab_offset": 272},
}

MROPE: Mapping[str, tuple[int, ...]] = {
    # Sections that the class assumes for full-width heads where the config names none.
    "qwen2_vl_text": (16, 24, 24),
    "qwen2_5_vl_text": (16, 24, 24),
    "qwen2_5_omni_text": (16, 24, 24),
    "paddleocr_vl_text": (16, 24, 24),
    "qwen3_vl_text": (24, 20, 20),
    "qwen3_vl_moe_text": (24, 20, 20),
    "qwen3_omni_moe_text": (24, 20, 20),
    "cosmos3_edge_text": (24, 20, 20),
    "cohere_compass_text": (24, 20, 20),
    "qwen3_5_text": (11, 11, 10),
    "qwen3_5_moe_text": (11, 11, 10),
    "qwen4_exp_text": (11, 11, 10),
    "ernie4_5_vl_moe_text": (22, 22, 20),
    "glm4v_text": (8, 12, 12),
    "glm4v_moe_text": (8, 12, 12),
    "glm_ocr_text": (8, 12, 12),
}
"""Multimodal rotary sections by family."""

STAND_INS = frozenset({"gemma3n_vision", "timm_wrapper"})
"""Towers from the timm library: their widths are hidden behind a name, so a small tower stands in for them."""
