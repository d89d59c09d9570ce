"""Decoders with dense blocks and no biases that write."""

from __future__ import annotations

from tests.zoo.common import PLAIN, SANDWICH, base
from tests.zoo.spec import Architecture

_NO_HEAD = base("head_dim")
_WINDOW = base(sliding_window=8)

ARCHITECTURES = {
    "llama": Architecture("llama", base(), PLAIN),
    "mistral": Architecture("mistral", base(), PLAIN),
    "ministral": Architecture(
        "ministral",
        base(sliding_window=8, layer_types=["sliding_attention", "full_attention"] * 2),
        PLAIN,
    ),
    "ministral3": Architecture("ministral3", base(), PLAIN),
    "qwen2": Architecture("qwen2", base(), PLAIN),
    "qwen3": Architecture("qwen3", base(), PLAIN),
    "phi3": Architecture("phi3", _NO_HEAD, PLAIN),
    "glm": Architecture("glm", base(), PLAIN),
    "glm4": Architecture(
        "glm4",
        base(),
        "self_attn.o_proj <- post_self_attn_layernorm; mlp.down_proj <- post_mlp_layernorm",
    ),
    "olmo2": Architecture("olmo2", base(), SANDWICH),
    "olmo3": Architecture("olmo3", _WINDOW, SANDWICH),
    "granite": Architecture(
        "granite",
        base(
            embedding_multiplier=12.0, residual_multiplier=0.22, logits_scaling=8.0, attention_multiplier=0.1
        ),
        PLAIN,
    ),
    "nemotron": Architecture("nemotron", base(), PLAIN),
    "cohere2": Architecture("cohere2", base("head_dim", sliding_window=8), PLAIN),
    "exaone4": Architecture("exaone4", base("head_dim", sliding_window=8), SANDWICH),
    "smollm3": Architecture("smollm3", base(), PLAIN),
    "hunyuan_v1_dense": Architecture("hunyuan_v1_dense", base(), PLAIN),
    "seed_oss": Architecture("seed_oss", base(), PLAIN),
    "stablelm": Architecture("stablelm", base("head_dim", partial_rotary_factor=0.5), PLAIN),
    "apertus": Architecture("apertus", base(), PLAIN),
}
