"""The exported folder against the edit in memory: three ways to the same logits."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from saber.ablation.apply import applied, edited_weight
from saber.ablation.edit import EditSet
from saber.export.adapter import CONFIG
from saber.export.edit_file import RECORD, read_record
from saber.export.shards import places
from saber.export.verify import with_adapter
from saber.model.anatomy import Anatomy
from saber.model.generate import batches, first_logits
from saber.model.load import ChatModel, load

_DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


@dataclass(frozen=True)
class LogitGap:
    """Largest differences of first-token logits between the reloaded folder and the edit in memory.

    Attributes:
        in_place: Against edited weights in memory, rounded to the type on disk: should be 0 up to float sums.
        hooks: Against hooks on the unrounded base: what rounding to the type on disk costs.
        scale: Largest change that the edit itself makes, for comparison.
        prompts: Number of prompts.
    """

    in_place: float
    hooks: float
    scale: float
    prompts: int


def compare_with_memory(
    chat: ChatModel, anatomy: Anatomy, edits: EditSet, folder: Path, prompts: Sequence[str]
) -> LogitGap:
    """Reload an exported checkpoint or adapter and compare its logits with the edit in memory.

    The base in memory is as it was when this returns, and the reloaded model is freed.

    Args:
        chat: The unedited base.
        anatomy: Its anatomy.
        edits: The edit.
        folder: The exported folder.
        prompts: What is asked.
    """
    base = _logits(chat, prompts)
    with applied(chat.model, anatomy, edits):
        hooks = _logits(chat, prompts)
    with _rounded_in_place(chat, anatomy, edits, _disk_types(folder, edits)):
        in_place = _logits(chat, prompts)
    reloaded = _logits(_reload(chat, folder), prompts)
    gc.collect()
    return LogitGap(_gap(reloaded, in_place), _gap(reloaded, hooks), _gap(base, hooks), len(prompts))


def _reload(chat: ChatModel, folder: Path) -> ChatModel:
    adapter = (folder / CONFIG).is_file()
    device = "cpu" if chat.device.type == "cpu" else "auto"
    config = chat.config.model_copy(update={"dtype": _DTYPES[chat.dtype], "device": device})
    again = load(str(chat.folder if adapter else folder), config, system=chat.system)
    return with_adapter(again, folder) if adapter else again


def _disk_types(folder: Path, edits: EditSet) -> dict[str, torch.dtype]:
    """Type on disk of every edited writer; nothing for an adapter, which rounds no weight."""
    export = read_record(folder / RECORD)["export"]
    if export["kind"] == "adapter":
        return {}
    found = places(folder)
    return {edit.writer: found[export["tensors"][edit.writer]["key"]].dtype for edit in edits}


@contextmanager
def _rounded_in_place(
    chat: ChatModel, anatomy: Anatomy, edits: EditSet, types: Mapping[str, torch.dtype]
) -> Iterator[None]:
    """Edited weights in the model, rounded as on disk, while the context is open."""
    axes = {writer.name: writer.axis for writer in anatomy.writers}
    original: dict[str, Tensor] = {}
    try:
        for edit in edits:
            parameter = chat.model.get_parameter(edit.writer)
            original[edit.writer] = parameter.detach().clone()
            weight = parameter.detach().to(types.get(edit.writer, parameter.dtype))
            parameter.data.copy_(edited_weight(weight, edit, axes[edit.writer]))
        yield
    finally:
        for name, value in original.items():
            chat.model.get_parameter(name).data.copy_(value)


def _logits(chat: ChatModel, prompts: Sequence[str]) -> Tensor:
    """First-token logits of all prompts, in batch order, on the CPU."""
    return torch.cat([first_logits(chat, batch).float().cpu() for batch in batches(chat, prompts)])


def _gap(one: Tensor, other: Tensor) -> float:
    """Largest difference; -inf in both (reserved ids) is no difference."""
    same = one == other
    return float((one - other).abs().masked_fill(same, 0.0).max())
