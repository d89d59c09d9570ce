"""Tiny random models of real transformers classes, with a byte-level chat tokenizer; saved as checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIALS = ("<pad>", "<eos>", "<bos>", "<turn>", "</turn>")
TEMPLATE = (
    "{{ '<bos>' }}{% for m in messages %}{{ '<turn>' + m['role'] + '\\n' + m['content'] + '</turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<turn>model\\n' }}{% endif %}"
)
VOCAB = len(SPECIALS) + 256
COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,  # 4 x 16 = 64: a square o_proj, where the wrong side of an edit has the right shape
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}
WINDOW = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}
GEMMA4: dict[str, Any] = {
    **COMMON,
    "vocab_size_per_layer_input": VOCAB,
    "num_hidden_layers": 6,
    "num_key_value_heads": 1,
    "global_head_dim": 32,
    "hidden_size_per_layer_input": 8,
    "num_kv_shared_layers": 3,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
    "sliding_window": 8,
    "use_double_wide_mlp": True,
    "final_logit_softcapping": 30.0,
}
GEMMA4_MOE: dict[str, Any] = {
    **GEMMA4,
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
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "gemma4", "gemma4_moe", "gemma4_mm")
"""Every family that this release must get right."""


def config(family: str) -> Any:
    """A tiny config of a family."""
    plain = {
        "llama": lambda: transformers.LlamaConfig(**COMMON),
        "mistral": lambda: transformers.MistralConfig(**COMMON),
        "qwen2": lambda: transformers.Qwen2Config(**{k: v for k, v in COMMON.items() if k != "head_dim"}),
        "qwen3": lambda: transformers.Qwen3Config(**{**COMMON, "head_dim": 20}),
        "gemma2": lambda: transformers.Gemma2Config(**COMMON, **WINDOW),
        "gemma3": lambda: transformers.Gemma3TextConfig(**COMMON, **WINDOW),
        "gemma4": lambda: transformers.Gemma4TextConfig(**GEMMA4),
        "gemma4_moe": lambda: transformers.Gemma4TextConfig(**GEMMA4_MOE),
        "gemma4_mm": _multimodal,
    }
    return plain[family]()


def _multimodal() -> Any:
    vision = transformers.Gemma4VisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        patch_size=4,
        pooling_kernel_size=2,
        position_embedding_size=64,
    )
    tokens = {"image_token_id": 250, "video_token_id": 251, "audio_token_id": 252}
    marks = {"boi_token_id": 253, "eoi_token_id": 254, "boa_token_id": 255, "eoa_token_index": 256}
    text = transformers.Gemma4TextConfig(**GEMMA4)
    return transformers.Gemma4Config(
        text_config=text, vision_config=vision, audio_config=None, **tokens, **marks
    )


def model(family: str, seed: int = 0) -> Any:
    """A tiny random model whose norm gains differ from 1, so that a wrong gain shows."""
    torch.manual_seed(seed)
    built = config(family)
    kind = (
        transformers.Gemma4ForConditionalGeneration
        if family == "gemma4_mm"
        else transformers.AutoModelForCausalLM
    )
    made = kind(built) if family == "gemma4_mm" else kind.from_config(built)
    generator = torch.Generator().manual_seed(seed + 1)
    for name, parameter in made.named_parameters():
        if parameter.ndim == 1 and "norm" in name:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
        elif parameter.ndim >= 2:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    for name, buffer in made.named_buffers():
        if name.endswith("layer_scalar"):
            buffer.fill_(0.7)
    return made.eval()


def tokenizer() -> Any:
    """A byte-level tokenizer with a chat template: any text, no training."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*SPECIALS, *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="left"
    )
    made.add_special_tokens({"additional_special_tokens": ["<turn>", "</turn>"]})
    made.chat_template = TEMPLATE
    return made


def save(
    family: str, folder: Path, *, dtype: torch.dtype = torch.float32, shard: str = "5GB", seed: int = 0
) -> Path:
    """A whole checkpoint folder: weights, config, tokenizer, and files that an export must keep."""
    made = model(family, seed).to(dtype)
    made.save_pretrained(folder, max_shard_size=shard)
    tokenizer().save_pretrained(folder)
    (folder / "LICENSE.txt").write_text("a licence\n", encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Pico\n", encoding="utf-8")
    (folder / "processor_config.json").write_text("{}\n", encoding="utf-8")
    return folder


def edit_config(folder: Path, **changes: object) -> None:
    """Change keys of a checkpoint's config.json."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
