"""What the export tests share: bases on disk and in memory, an edit of all their writers, logits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from saber.ablation.apply import base_hash
from saber.ablation.compiler import compile_edit
from saber.ablation.edit import EditSet
from saber.ablation.operator import ablation_operator, written_directions
from saber.config import ModelConfig
from saber.export.carriers import adapter_gaps
from saber.model.anatomy import Anatomy, effective_gain
from saber.model.examine import examine
from saber.model.load import ChatModel, load
from tests.export import families

FAMILIES = (
    "llama",
    "llama_tied",
    "gpt2",
    "gemma3_mm",
    "gemma4_moe",
    "gemma4_mm",
    "mixtral",
    "qwen3_moe",
    "gpt_oss",
    "granitemoehybrid",
    "nemotron_h",
    "lfm2_moe",
    "deepseek_v3",
)
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


def for_adapter(base: Base) -> EditSet:
    """An edit of every writer that a LoRA can carry."""
    gaps = adapter_gaps(base.anatomy.writers, base.chat.model, base.anatomy)
    left = {gap.partition(":")[0] for gap in gaps}
    names = [writer.name for writer in base.anatomy.writers if writer.name not in left]
    return edit_all(base.chat.model, base.anatomy, names=names)


def make_base(family: str, dtype: torch.dtype, folder: Path) -> Base:
    """Float32 bases are sharded, bfloat16 ones are a single file."""
    families.save(family, folder, dtype, "60KB" if dtype == torch.float32 else "5GB")
    return in_memory(folder)


def in_memory(folder: Path) -> Base:
    """A base that lies on disk, with an edit of all its writers."""
    chat = reload(folder)
    anatomy = examine(chat.model)
    return Base(folder, chat, anatomy, edit_all(chat.model, anatomy))


def edit_all(
    model: Any,
    anatomy: Anatomy,
    seed: int = 0,
    alpha: tuple[float, ...] = (1.0, 0.6),
    names: Collection[str] | None = None,
    experts: tuple[int, ...] | None = None,
) -> EditSet:
    """Every module (of those named writers) loses random directions of its own; of fused blocks the given experts."""
    generator = torch.Generator().manual_seed(seed)
    edits, bases = {}, {}
    for writer in anatomy.writers:
        drawn = torch.linalg.qr(torch.randn(anatomy.d_model, len(alpha), generator=generator)).Q
        basis = bases.setdefault(writer.module, drawn)
        gain = effective_gain(model, writer)
        written = written_directions(basis, gain, writer.centred)
        operator = ablation_operator(basis, torch.tensor(alpha), gain, centred=writer.centred)
        if names is None or writer.name in names:
            chosen = experts if writer.n_experts else None
            edits[writer.name] = compile_edit(model, writer, operator, written / written.norm(dim=0), chosen)
    return EditSet(edits, base_hash(model, [anatomy.named()[name] for name in edits]))


@torch.inference_mode()
def logits(chat: ChatModel) -> torch.Tensor:
    """Logits at every token of three texts of one length."""
    ids = torch.randint(5, 240, (3, 14), generator=torch.Generator().manual_seed(7))
    out: torch.Tensor = chat.model(input_ids=ids, use_cache=False).logits
    return out.float()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by relative name."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def leftovers(folder: Path) -> list[str]:
    """Names of everything in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())
