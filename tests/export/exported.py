"""What the export tests share: bases on disk and in memory, an edit of all their writers, logits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from saber.ablation.apply import base_hash
from saber.ablation.edit import EditSet
from saber.ablation.operator import ablation_operator
from saber.ablation.plan import compile_edit
from saber.config import ModelConfig
from saber.model.anatomy import Anatomy, effective_gain, examine
from saber.model.generate import batches, forward
from saber.model.load import ChatModel, load
from tests import pico

FAMILIES = ("llama", "qwen3", "gemma2", "gemma3", "gemma3_mm", "gemma4", "gemma4_moe", "gemma4_mm")
PROMPTS = ["Name a colour.", "Why does it rain in spring?", "hi"]


@dataclass(frozen=True)
class Base:
    """A base model on disk and in memory, and an edit of all its writers."""

    folder: Path
    chat: ChatModel
    anatomy: Anatomy
    edits: EditSet


def reload(folder: Path) -> ChatModel:
    return load(str(folder), ModelConfig(device="cpu", batch_size=8))


def make_base(family: str, dtype: torch.dtype, folder: Path) -> Base:
    """Float32 bases are sharded, bfloat16 ones are a single file."""
    shard = "60KB" if dtype == torch.float32 else "5GB"
    if family == "gemma3_mm":
        save_gemma3_multimodal(folder, dtype, shard)
    else:
        pico.save(family, folder, dtype=dtype, shard=shard)
    (folder / "original").mkdir()
    (folder / "original" / "params.json").write_text("{}\n")
    chat = reload(folder)
    anatomy = examine(chat.model)
    return Base(folder, chat, anatomy, edit_all(chat.model, anatomy))


def edit_all(model: Any, anatomy: Anatomy, seed: int = 0, alpha: tuple[float, ...] = (1.0, 0.6)) -> EditSet:
    """Every writer loses two random directions of its own."""
    generator = torch.Generator().manual_seed(seed)
    edits = {}
    for writer in anatomy.writers:
        basis = torch.linalg.qr(torch.randn(anatomy.d_model, len(alpha), generator=generator)).Q
        gain = effective_gain(model, writer)
        written = basis if gain is None else gain[:, None] * basis
        operator = ablation_operator(basis, torch.tensor(alpha), gain)
        edits[writer.name] = compile_edit(model, writer, operator, written / written.norm(dim=0))
    return EditSet(edits, base_hash(model, anatomy.writers))


def save_gemma3_multimodal(folder: Path, dtype: torch.dtype, shard: str) -> None:
    """In memory `model.language_model.layers.N`, on disk `language_model.model.layers.N`; a vision tower."""
    vision = transformers.SiglipVisionConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=16,
        patch_size=8,
    )
    text = transformers.Gemma3TextConfig(**pico.COMMON, **pico.WINDOW)
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=250
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        scale = 0.3 if "norm" in name else 0.05
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * scale)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    pico.tokenizer().save_pretrained(folder)
    (folder / "README.md").write_text("# Pico\n")


def logits(chat: ChatModel) -> torch.Tensor:
    """Logits at every real token of all prompts."""
    batch = next(batches(chat, PROMPTS))
    return forward(chat, batch)[batch.mask.bool()].float()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by relative name."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def leftovers(folder: Path) -> list[str]:
    """Names of everything in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())
