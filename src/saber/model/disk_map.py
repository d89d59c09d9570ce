"""Which tensor of a checkpoint holds which parameter: asked of transformers itself, by saving numbers that tell.

In memory transformers fuses, renames and turns weights that lie otherwise on disk, and turns them back when it saves.
So a tiny twin is saved whose writers hold running numbers, and what was written is read back.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from saber.model.anatomy import DiskTensor, Writer
from saber.model.load import quiet

_FIRST = 4096
"""First running number: far from any weight of a random twin."""


def disk_tensors(twin: Any, writers: Iterable[Writer]) -> dict[str, DiskTensor]:
    """Tensor on disk behind every writer, proven element by element; the twin is left as it was.

    Args:
        twin: A tiny transformers model with values.
        writers: Its writers, with the twin's shapes.

    Returns:
        By runtime name; a writer that lies on disk in another form (merged with others, reshaped) has no entry.
    """
    marks = _marks(writers)
    found: dict[str, dict[int | None, tuple[str, int]]] = {mark.writer.name: {} for mark in marks}
    try:
        for key, tensor in _saved(twin, _marked(twin, marks)):
            mark = _behind(marks, tensor)
            held = mark.held_by(tensor) if mark else None
            if mark and held:
                expert, axis = held
                found[mark.writer.name].setdefault(expert, (key, axis))
    except (RuntimeError, ValueError):
        # The class refuses to be saved. An export then finds names by their endings, which the base's hash proves.
        return {}
    named = {mark.writer.name: _disk_tensor(mark.writer, found[mark.writer.name]) for mark in marks}
    return {name: disk for name, disk in named.items() if disk is not None}


def disk_name(model: Any, name: str) -> str:
    """Name under which a model's class saves one parameter; the model needs no values.

    Only for what is saved as it lies in memory, such as the unembedding.
    """
    ((key, _),) = _saved(model, {name: torch.zeros(1, 1)})
    return key


@dataclass(frozen=True)
class _Mark:
    """The running numbers of one writer.

    Attributes:
        writer: The writer.
        first: Its first number; the others follow in memory order. All stay exact in float64.
    """

    writer: Writer
    first: int

    def numbers(self, expert: int | None = None) -> Tensor:
        """The writer as it is saved, or one of its experts."""
        shape = torch.Size(self.writer.shape if expert is None else self.writer.shape[1:])
        first = self.first + (expert or 0) * shape.numel()
        return torch.arange(first, first + shape.numel(), dtype=torch.float64).reshape(shape)

    def held_by(self, tensor: Tensor) -> tuple[int | None, int] | None:
        """Expert (None: all of the writer) whose numbers a tensor holds, and the tensor's axis along d_model."""
        experts: list[int | None] = [None]
        if self.writer.n_experts:
            each = torch.Size(self.writer.shape[1:]).numel()
            experts.append((int(tensor.flatten()[0]) - self.first) // each)
        for expert in experts:
            numbers = self.numbers(expert)
            axis = self.writer.axis - (expert is not None)
            if torch.equal(tensor, numbers):
                return expert, axis
            if numbers.ndim > 1 and torch.equal(tensor, numbers.mT):  # its last two axes are swapped
                return expert, 2 * numbers.ndim - 3 - axis
        return None


def _marks(writers: Iterable[Writer]) -> list[_Mark]:
    marks, first = [], _FIRST
    for writer in writers:
        marks.append(_Mark(writer, first))
        first += torch.Size(writer.shape).numel()
    return marks


def _marked(twin: Any, marks: Iterable[_Mark]) -> dict[str, Tensor]:
    """The twin's state with running numbers for writers; names of a tied parameter go on sharing memory."""
    state: dict[str, Tensor] = dict(twin.state_dict())
    names: dict[int, list[str]] = {}
    for name, value in state.items():
        names.setdefault(value.data_ptr(), []).append(name)
    for mark in marks:
        state |= dict.fromkeys(names[state[mark.writer.name].data_ptr()], mark.numbers())
    return state


def _behind(marks: list[_Mark], tensor: Tensor) -> _Mark | None:
    """The writer that a tensor's first number belongs to, if it is one of the running numbers."""
    if not tensor.numel() or tensor.dtype != torch.float64:
        return None
    index = bisect_right(marks, float(tensor.flatten()[0]), key=lambda mark: mark.first) - 1
    return marks[index] if index >= 0 else None


def _disk_tensor(writer: Writer, found: Mapping[int | None, tuple[str, int]]) -> DiskTensor | None:
    """One tensor, or one for each expert whose names differ in nothing but the expert's own index."""
    if None in found:
        return DiskTensor(*found[None])
    experts = writer.n_experts or 0
    if not experts or set(found) != set(range(experts)):
        return None
    axes = {axis for _, axis in found.values()}
    keys = [re.split(r"(\d+)", found[expert][0]) for expert in range(experts)]
    indices = [str(expert) for expert in range(experts)]
    for place in reversed(range(1, len(keys[0]), 2)):  # numbers stand at odd places; the last that fits
        templates = {"".join([*key[:place], "{expert}", *key[place + 1 :]]) for key in keys}
        if len(templates) == len(axes) == 1 and [key[place] for key in keys] == indices:
            return DiskTensor(templates.pop(), axes.pop())
    return None


def _saved(model: Any, state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors that the model's class writes for a state, one at a time; the model itself stays."""
    from safetensors import safe_open

    with TemporaryDirectory() as folder:
        with _unchanged(model), quiet():
            model.save_pretrained(folder, state_dict=state)
        for path in sorted(Path(folder).glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                names = list(file.keys())
                yield from ((name, file.get_tensor(name)) for name in names)


@contextmanager
def _unchanged(model: Any) -> Iterator[None]:
    """Saving notes the type and the class in the config; a generation config may be refused: neither is wanted."""
    config, generation = model.config, getattr(model, "generation_config", None)
    noted = {name: getattr(config, name, None) for name in ("dtype", "architectures")}
    if generation is not None:
        model.generation_config = type(generation)()
    try:
        yield
    finally:
        for name, value in noted.items():
            setattr(config, name, value)
        if generation is not None:
            model.generation_config = generation
