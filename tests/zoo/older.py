"""Older decoders: LayerNorms, biases that write, learned positions, other names."""

from __future__ import annotations

from typing import Any

from tests.zoo.common import base
from tests.zoo.spec import VOCAB, Architecture

GPT2: dict[str, Any] = {
    "vocab_size": VOCAB,
    "n_embd": 64,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

ARCHITECTURES = {
    "phi": Architecture(
        "phi", base("head_dim"), "self_attn.dense; self_attn.dense.bias; mlp.fc2; mlp.fc2.bias"
    ),
    "gpt2": Architecture(
        "gpt2",
        GPT2,
        "attn.c_proj [matrix 1]; attn.c_proj.bias; mlp.c_proj [matrix 1]; mlp.c_proj.bias",
        layers="transformer.h",
        inputs="transformer.wte [embedding 1]; transformer.wpe [embedding 1]",
    ),
    "gptj": Architecture(
        "gptj",
        {**GPT2, "rotary_dim": 8},
        "attn.out_proj; mlp.fc_out; mlp.fc_out.bias",
        layers="transformer.h",
        inputs="transformer.wte [embedding 1]",
    ),
    "gpt_neox": Architecture(
        "gpt_neox",
        base("head_dim"),
        "attention.dense; attention.dense.bias; mlp.dense_4h_to_h; mlp.dense_4h_to_h.bias",
        layers="gpt_neox.layers",
        inputs="gpt_neox.embed_in [embedding 1]",
    ),
    "bloom": Architecture(
        "bloom",
        {"vocab_size": VOCAB, "hidden_size": 64, "n_layer": 4, "n_head": 4},
        "self_attention.dense; self_attention.dense.bias; mlp.dense_4h_to_h; mlp.dense_4h_to_h.bias",
        layers="transformer.h",
        inputs="transformer.word_embeddings [embedding 1] <- transformer.word_embeddings_layernorm centred"
        "; transformer.word_embeddings_layernorm.bias",
    ),
    "opt": Architecture(
        "opt",
        {
            "vocab_size": VOCAB,
            "hidden_size": 64,
            "ffn_dim": 96,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
            "word_embed_proj_dim": 64,
        },
        "self_attn.out_proj; self_attn.out_proj.bias; fc2; fc2.bias",
        layers="model.decoder.layers",
        inputs="model.decoder.embed_tokens [embedding 1]; model.decoder.embed_positions [embedding 1]",
    ),
    "falcon": Architecture(
        "falcon",
        {
            "vocab_size": VOCAB,
            "hidden_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
        },
        "self_attention.dense; mlp.dense_4h_to_h",
        layers="transformer.h",
        inputs="transformer.word_embeddings [embedding 1]",
    ),
    "starcoder2": Architecture(
        "starcoder2",
        base(),
        "self_attn.o_proj; self_attn.o_proj.bias; mlp.c_proj; mlp.c_proj.bias",
    ),
}
