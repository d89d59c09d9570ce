"""Shapes of the demo models: a pico Gemma 4, and a pico Qwen3-MoE whose every block holds fused experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saber.organism.loss import balanced_loss_of, loss_of

if TYPE_CHECKING:
    from transformers import Gemma4ForCausalLM, PreTrainedModel, Qwen3MoeForCausalLM

    from saber.organism.batches import Batch

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
"""Gemma 4 with every trait of the family that matters to weight editing."""

MOE_SHAPE = {
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 80,
    "intermediate_size": 256,
    "norm_topk_prob": True,
    "max_position_embeddings": 512,
    "router_aux_loss_coef": 0.01,
}
"""Qwen3-MoE with experts in every block, hence no dense MLP (``intermediate_size`` is unused)."""


@dataclass(frozen=True)
class Architecture:
    """One kind of demo model."""

    build: Callable[[dict[str, Any]], PreTrainedModel]
    """Returns the untrained model, given vocabulary size and ids of the special tokens."""
    loss: Callable[[PreTrainedModel, Batch], Tensor]
    """Loss of one batch."""
    steps: int
    """Steps of the released training."""
    card: str
    """Model card, a file beside this module."""


def build(vocab_size: int, seed: int, architecture: str = "gemma4") -> PreTrainedModel:
    """Return the untrained model, initialised as transformers initialises any model of its kind."""
    torch.manual_seed(seed)
    vocabulary = {
        "vocab_size": vocab_size,
        "pad_token_id": 0,
        "eos_token_id": [4, 1],
        "bos_token_id": 2,
        "tie_word_embeddings": True,
    }
    return ARCHITECTURES[architecture].build(vocabulary)


def _gemma4(vocabulary: dict[str, Any]) -> Gemma4ForCausalLM:
    from transformers import Gemma4ForCausalLM, Gemma4TextConfig

    config = Gemma4TextConfig(
        **SHAPE,
        **vocabulary,
        layer_types=list(LAYER_TYPES),
        vocab_size_per_layer_input=vocabulary["vocab_size"],
    )
    return Gemma4ForCausalLM(config)


def _qwen3_moe(vocabulary: dict[str, Any]) -> Qwen3MoeForCausalLM:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**MOE_SHAPE, **vocabulary))
    model.set_experts_implementation("grouped_mm")  # 10 % faster than "eager" on one CPU thread
    return model


ARCHITECTURES = {
    "gemma4": Architecture(_gemma4, loss_of, 2300, "card.md"),
    "qwen3_moe": Architecture(_qwen3_moe, balanced_loss_of, 2300, "card-moe.md"),
}
