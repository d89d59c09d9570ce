"""Dense decoders on which discovery was not developed; expectations are read from their modelling code."""

from __future__ import annotations

from typing import Any

from tests.zoo.common import GEMMA_SANDWICH, LATENT, PLAIN, SANDWICH, base
from tests.zoo.older import GPT2
from tests.zoo.spec import VOCAB, Architecture

_NO_HEAD = base("head_dim")
_BIASED = "self_attn.out_proj; self_attn.out_proj.bias; fc2; fc2.bias"
_ROPES = {
    kind: {"rope_type": "default", "rope_theta": 1e4} for kind in ("full_attention", "sliding_attention")
}


def _new(model_type: str, config: dict[str, Any], writers: str = PLAIN, **more: Any) -> Architecture:
    return Architecture(model_type, config, writers, unseen=True, **more)


ARCHITECTURES = {
    "arcee": _new("arcee", base()),
    "bitnet": _new("bitnet", _NO_HEAD),  # its inner norms stand before the writers
    "cwm": _new("cwm", base()),
    "diffllama": _new("diffllama", base()),
    "ernie4_5": _new("ernie4_5", base()),
    "granite_swa": _new("granite_swa", base()),
    "helium": _new("helium", base(head_dim=16)),
    "jais2": _new(
        "jais2", base(), "self_attn.o_proj; self_attn.o_proj.bias; mlp.down_proj; mlp.down_proj.bias"
    ),
    "nanochat": _new("nanochat", base(), "self_attn.o_proj; mlp.fc2"),
    "olmo": _new("olmo", base()),
    "vaultgemma": _new("vaultgemma", base()),
    "cohere": _new("cohere", base()),
    "cohere_compass": _new("cohere_compass_text", base(rope_parameters=_ROPES)),
    "youtu": _new("youtu", base("head_dim", **LATENT)),
    "minicpm3": _new("minicpm3", base("head_dim", **LATENT)),
    "hyperclovax": _new("hyperclovax", base(), "self_attn.o_proj <- post_norm1; mlp.down_proj <- post_norm2"),
    "gemma4_unified": _new("gemma4_unified_text", base(global_head_dim=32), SANDWICH),
    "doge": _new(
        "doge",
        base(),
        "self_attn.o_proj <- post_attention_residual; mlp.down_proj",
        leaks="each block multiplies the stream by vectors (input_residual, post_attention_residual)",
    ),
    "persimmon": _new(
        "persimmon",
        _NO_HEAD,
        "self_attn.dense; self_attn.dense.bias; mlp.dense_4h_to_h; mlp.dense_4h_to_h.bias",
    ),
    "modernbert_decoder": _new(
        "modernbert-decoder",
        _NO_HEAD,
        "attn.Wo; mlp.Wo",
        inputs="model.embeddings.tok_embeddings [embedding 1] <- model.embeddings.norm centred",
    ),
    "biogpt": _new(
        "biogpt",
        _NO_HEAD,
        _BIASED,
        layers="biogpt.layers",
        inputs="biogpt.embed_tokens [embedding 1]; biogpt.embed_positions [embedding 1]",
    ),
    "xglm": _new(
        "xglm",
        {
            "vocab_size": VOCAB,
            "d_model": 64,
            "ffn_dim": 96,
            "num_layers": 4,
            "attention_heads": 4,
            "max_position_embeddings": 128,
        },
        _BIASED,
        leaks="sinusoidal positions are a buffer, not a parameter",
    ),
    "ctrl": _new(
        "ctrl",
        {"vocab_size": VOCAB, "n_embd": 64, "n_layer": 4, "n_head": 4, "dff": 96, "n_positions": 128},
        "multi_head_attention.dense; multi_head_attention.dense.bias; ffn.2; ffn.2.bias",
        layers="transformer.h",
        inputs="transformer.w [embedding 1]",
        leaks="sinusoidal positions are a buffer, not a parameter",
    ),
    "codegen": _new(
        "codegen",
        {**GPT2, "rotary_dim": 8},
        "attn.out_proj; mlp.fc_out; mlp.fc_out.bias",
        layers="transformer.h",
        inputs="transformer.wte [embedding 1]",
    ),
    "gpt_bigcode": _new(
        "gpt_bigcode",
        GPT2,
        "attn.c_proj; attn.c_proj.bias; mlp.c_proj; mlp.c_proj.bias",
        layers="transformer.h",
        inputs="transformer.wte [embedding 1]; transformer.wpe [embedding 1]",
    ),
    "gpt_neo": _new(
        "gpt_neo",
        {
            "vocab_size": VOCAB,
            "hidden_size": 64,
            "num_layers": 4,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 2]],
            "window_size": 8,
            "max_position_embeddings": 128,
            "intermediate_size": 96,
        },
        "attn.attention.out_proj; attn.attention.out_proj.bias; mlp.c_proj; mlp.c_proj.bias",
        layers="transformer.h",
        inputs="transformer.wte [embedding 1]; transformer.wpe [embedding 1]",
    ),
    "gpt_neox_japanese": _new(
        "gpt_neox_japanese",
        base("head_dim", "intermediate_size", intermediate_multiple_size=2),
        "attention.dense; attention.dense_bias; mlp.dense_4h_to_h",
        layers="gpt_neox_japanese.layers",
        inputs="gpt_neox_japanese.embed_in [embedding 1]",
    ),
    "mpt": _new(
        "mpt",
        {"vocab_size": VOCAB, "d_model": 64, "n_heads": 4, "n_layers": 4, "max_seq_len": 128},
        "attn.out_proj; ffn.down_proj",
        layers="transformer.blocks",
        inputs="transformer.wte [embedding 1]",
    ),
    "hrm_text": _new(
        "hrm_text",
        base(num_layers_per_stack=2, H_cycles=2, L_cycles=2, num_hidden_layers=12),
        layers="model.L_module.layers",
        inputs="",
        leaks="two stacks of blocks run in turns on sums of their streams; only one is the chain",
        unexplained="model.L_module.layers",  # its early cycles run without gradients
        changed="a first input without a gradient is reported; before, the embedding was left out in silence",
    ),
    "mllama": _new(
        "mllama",
        {
            "text_config": base("head_dim", cross_attention_layers=[1, 3]),
            "vision_config": {
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_global_layers": 1,
                "attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
                "supported_aspect_ratios": [[1, 1]],
                "intermediate_layers_indices": [0],
            },
        },
        "0: self_attn.o_proj; 0: mlp.down_proj; 2: self_attn.o_proj; 2: mlp.down_proj",
        unexplained="model.layers.1; model.layers.3",  # cross-attention blocks, which text alone does not run
    ),
    "gemma3_mm": _new(
        "gemma3",
        {
            "text_config": base(sliding_window=8),
            "vision_config": {
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
            },
            "mm_tokens_per_image": 4,
        },
        GEMMA_SANDWICH,
        layers="model.language_model.layers",
        inputs="model.language_model.embed_tokens [embedding 1]",
    ),
    "fuyu": _new(
        "fuyu",
        base("head_dim", image_size=30, patch_size=30, num_channels=3),
        "self_attn.dense; self_attn.dense.bias; mlp.dense_4h_to_h; mlp.dense_4h_to_h.bias",
        layers="model.language_model.layers",
        inputs="model.language_model.embed_tokens [embedding 1]",
    ),
}
