"""The exported folder against the edit in memory: three ways to the same logits."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from saber.ablation.apply import applied, edited_weight
from saber.ablation.edit import EditSet
from saber.errors import ModelError
from saber.export.adapter import CONFIG, with_adapter
from saber.export.disk_names import held_by_record
from saber.export.edit_file import RECORD, read_record
from saber.export.shards import places
from saber.model.anatomy import Anatomy
from saber.model.generate import batches, first_logits
from saber.model.load import ChatModel, load
from saber.model.weights import held

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

    Raises:
        ModelError: The base's weights are not plain tensors in memory, or a second model does not fit beside it.
        ExportError: PEFT left out a part of an adapter.
    """
    _check_plain(chat, edits)
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
    there = held_by_record(edits, export, places(folder))
    return {name: writer.places[0].dtype for name, writer in there.items()}


@contextmanager
def _rounded_in_place(
    chat: ChatModel, anatomy: Anatomy, edits: EditSet, types: Mapping[str, torch.dtype]
) -> Iterator[None]:
    """Edited weights in the model, rounded as on disk, while the context is open; a tied unembedding stays."""
    writers = anatomy.named()
    original: dict[str, nn.Parameter] = {}
    try:
        for edit in edits:
            parameter = chat.model.get_parameter(edit.writer)
            weight = parameter.detach().to(types.get(edit.writer, parameter.dtype))
            value = edited_weight(weight, edit, writers[edit.writer]).to(parameter.dtype)
            original[edit.writer] = parameter
            _put(chat.model, edit.writer, nn.Parameter(value, requires_grad=False))
        yield
    finally:
        for name, parameter in original.items():
            _put(chat.model, name, parameter)


def _put(model: nn.Module, name: str, parameter: nn.Parameter) -> None:
    module, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(module), leaf, parameter)


def _check_plain(chat: ChatModel, edits: EditSet) -> None:
    away = [edit.writer for edit in edits if held(chat.model, edit.writer) != "plain"]
    if away:
        raise ModelError(
            f"{away[0]} is {held(chat.model, away[0])} in memory, so there is no edit in place to compare with",
            hint="Compare where the model fits unquantised on one device.",
        )


def _logits(chat: ChatModel, prompts: Sequence[str]) -> Tensor:
    """First-token logits of all prompts, in batch order, on the CPU."""
    return torch.cat([first_logits(chat, batch).float().cpu() for batch in batches(chat, prompts)])


def _gap(one: Tensor, other: Tensor) -> float:
    """Largest difference; -inf in both (reserved ids) is no difference."""
    same = one == other
    return float((one - other).abs().masked_fill(same, 0.0).max())
