"""The demo model's shape: a pico Gemma 4 with every trait of the family that matters to weight editing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import Gemma4ForCausalLM

SLIDING, FULL = "sliding_attention", "full_attention"
LAYER_TYPES = (SLIDING, SLIDING, FULL, SLIDING, SLIDING, FULL, SLIDING, FULL)
"""Layers 6 and 7 share the keys and values of layers 4 (sliding) and 5 (full)."""

SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": len(LAYER_TYPES),
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "global_head_dim": 64,
    "hidden_size_per_layer_input": 16,
    "num_kv_shared_layers": 2,
    "sliding_window": 32,
    "max_position_embeddings": 512,
    "use_double_wide_mlp": True,
    "final_logit_softcapping": 30.0,
}


def build(vocab_size: int, seed: int) -> Gemma4ForCausalLM:
    """Return the untrained model, initialised as transformers initialises any Gemma 4."""
    from transformers import Gemma4ForCausalLM, Gemma4TextConfig

    torch.manual_seed(seed)
    config = Gemma4TextConfig(
        **SHAPE,
        layer_types=list(LAYER_TYPES),
        vocab_size=vocab_size,
        vocab_size_per_layer_input=vocab_size,
        pad_token_id=0,
        eos_token_id=[4, 1],
        bos_token_id=2,
        tie_word_embeddings=True,
    )
    return Gemma4ForCausalLM(config)
