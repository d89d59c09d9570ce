"""From a writer's name in memory to its tensors on disk, and the proof that they are the edit's base."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saber.ablation.apply import digest, digest_of_parts, writers_hash
from saber.ablation.edit import EditSet, LowRankEdit
from saber.errors import EditError, ExportError
from saber.export.edit_file import RECORD, read_record
from saber.export.patch import Piece
from saber.export.shards import Place, read_tensor
from saber.model.anatomy import Anatomy, Writer, residual_first
from saber.model.discovery.found import Form
from saber.model.weights import read_weight

_OWN_BASE = "Apply an edit only to the base model that it was made from."
_SINGLE: dict[Form, Form] = {"experts": "matrix", "expert_bias": "bias"}
"""What one expert's own tensor is."""


@dataclass(frozen=True)
class Held:
    """What holds a writer in a checkpoint.

    Attributes:
        stored: The writer as it lies in each of the tensors: form, axis and shape are those of a tensor.
        key: Name of the tensor; `{expert}` stands for the index where each expert has a tensor of its own.
        places: That tensor, or those of all experts in order.
        turned: In memory its last two axes are the other way round.
    """

    stored: Writer
    key: str
    places: tuple[Place, ...]
    turned: bool

    @property
    def per_expert(self) -> bool:
        """Whether each expert is a tensor of its own."""
        return "{expert}" in self.key

    def pieces(self, edit: LowRankEdit) -> Iterator[tuple[Place, Piece]]:
        """Tensors that an edit changes, each with its part of the edit."""
        if not self.per_expert:
            yield self.places[0], Piece(edit, self.stored)
            return
        for expert in range(len(self.places)) if edit.experts is None else sorted(edit.experts):
            yield self.places[expert], Piece(edit, self.stored, expert)

    def values(self, read: Callable[[Place], Tensor]) -> Iterator[Tensor]:
        """The parameter as it lies in memory, in parts: tensors (or experts) one after the other."""
        for place in self.places:
            tensor = read(place)
            if not self.turned:
                yield tensor
            else:  # one expert at a time: turning copies
                yield from (part.T for part in (tensor if tensor.ndim == 3 else tensor[None]))

    def row(self) -> dict[str, Any]:
        """What the record keeps of it."""
        return {
            "key": self.key,
            "experts": len(self.places) if self.per_expert else None,
            "form": self.stored.form,
            "axis": self.stored.axis,
            "turned": self.turned,
            "dtype": self.places[0].code,
        }


def held_by_record(edits: EditSet, export: Mapping[str, Any], found: Mapping[str, Place]) -> dict[str, Held]:
    """What holds the edited writers in an exported folder, from the record's section about the export.

    Raises:
        ExportError: The folder lacks a tensor.
    """
    held = {}
    for name in edits.edits:
        row = export["tensors"][name]
        keys = _keys(row["key"], row["experts"])
        missing = [key for key in keys if key not in found]
        if missing:
            raise ExportError(
                f"tensor {missing[0]}, which the record names, is missing",
                hint="The exported folder was changed after the export.",
            )
        there = tuple(found[key] for key in keys)
        stored = Writer(name, "", None, "other", row["form"], row["axis"], there[0].shape)
        held[name] = Held(stored, row["key"], there, bool(row["turned"]))
    return held


def writers_on_disk(
    folder: Path,
    places: Mapping[str, Place],
    edits: EditSet,
    anatomy: Anatomy,
    *,
    model: nn.Module | None = None,
) -> dict[str, Held]:
    """Tensors on disk behind every edited writer.

    Those with the runtime name; else those that the class saves it as; else the only ones whose names end in the same
    way (and have the same content, where several do: `model` is needed then). All must have the writer's shape, as it
    is or with its last two axes swapped.

    Raises:
        EditError: The edit belongs to another architecture.
        ExportError: A writer has no tensor, or several, on disk.
    """
    writers = anatomy.named()
    found = {}
    for edit in edits:
        if edit.writer not in writers:
            raise EditError(f"the edit changes {edit.writer}, which this model does not have", hint=_OWN_BASE)
        writer = writers[edit.writer]
        _check_shape(writer, edit)
        found[writer.name] = _match(folder, places, writer, model)
    return found


def check_disk_base(folder: Path, found: Mapping[str, Held], edits: EditSet) -> str:
    """Refuse a folder whose writers are not those that the edit was made from.

    Hashes are of float32 values; an edit made from weights that were loaded in a narrower type fits as well.

    Returns:
        `writers_hash` of the writers as they lie on disk.

    Raises:
        EditError: Another base model, or the edit has been applied already.
    """
    record = read_record(folder / RECORD) if (folder / RECORD).is_file() else None
    if record and record["edit_sha256"] == edits.sha256:
        raise EditError(
            f"{folder} is an export of this very edit ({edits.sha256[:12]}); applying it twice was refused",
            hint="Apply the edit to the base model; `saber undo` brings it back.",
        )
    read = partial(read_tensor, folder)
    hashes = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        digests = {name: digest_of_parts(held.values(read), dtype) for name, held in found.items()}
        hashes.append(writers_hash(digests))
        if hashes[-1] == edits.base_sha256:
            return hashes[0]
    also = " (the folder is an export by SABER itself)" if record else ""
    raise EditError(
        f"writers in {folder} hash to {hashes[0][:12]}, the edit was made for {edits.base_sha256[:12]}{also}",
        hint="Either this is another base model, or the edit has been applied to it already.",
    )


def _check_shape(writer: Writer, edit: LowRankEdit) -> None:
    wanted = list(residual_first(torch.empty(writer.shape, device="meta"), writer).shape)
    found = [*edit.right.shape[:-2], edit.left.shape[0], edit.right.shape[-1]]
    if wanted != found:
        raise EditError(f"the edit of {writer.name} is {found}, the model's writer {wanted}", hint=_OWN_BASE)


def _match(folder: Path, places: Mapping[str, Place], writer: Writer, model: nn.Module | None) -> Held:
    names = [(writer.name, writer.axis)]
    if writer.disk:
        saved = (writer.disk.key, writer.disk.axis)
        names = [saved] if writer.disk.key == writer.name else [*names, saved]
    for key, axis in names:
        held = _held(places, writer, key, axis)
        if held:
            return held
    alike = next((found for found in _endings(places, writer, reversed(names)) if found), [])
    if len(alike) > 1 and model is not None:
        alike = [held for held in alike if _same_values(folder, held, model)]
    if len(alike) == 1:
        return alike[0]
    where = f"block {writer.layer}" if writer.layer is not None else "the checkpoint"
    raise ExportError(
        f"{writer.name} {list(writer.shape)} matches {len(alike)} tensors on disk; {where} has "
        f"{'; '.join(_near(places, writer)[:12]) or 'none'}",
        hint="The checkpoint is incomplete, or it names its tensors in a way that SABER does not know.",
    )


def _near(places: Mapping[str, Place], writer: Writer) -> list[str]:
    """Tensors of the writer's block, those of its own name first."""
    own = writer.name.removesuffix(".weight").rpartition(".")[2]
    block = None if writer.layer is None else str(writer.layer)
    found = [
        (own not in key.split("."), f"{key} {list(place.shape)} in {place.file}")
        for key, place in places.items()
        if next((part for part in key.split(".") if part.isdigit()), None) == block
    ]
    return [text for _, text in sorted(found)]


def _endings(
    places: Mapping[str, Place], writer: Writer, names: Iterator[tuple[str, int]]
) -> Iterator[list[Held]]:
    """What holds the writer under names that end alike; ever shorter endings, not shorter than `N.module.weight`."""
    for key, axis in names:
        parts = key.split(".")
        least = parts.index(str(writer.layer)) if str(writer.layer) in parts else len(parts) - 2
        for cut in range(max(least, 0) + 1):
            ending = ".".join(parts[cut:])
            probe = f".{ending.replace('{expert}', '0')}"
            found = [name for name in places if f".{name}".endswith(probe)]
            alike = (
                _held(places, writer, name[: len(name) + 1 - len(probe)] + ending, axis) for name in found
            )
            yield [held for held in alike if held]


def _held(places: Mapping[str, Place], writer: Writer, key: str, axis: int) -> Held | None:
    """Tensors of a name, if all are there and have the writer's shape, or that with its last two axes swapped."""
    per_expert = "{expert}" in key
    keys = _keys(key, writer.n_experts if per_expert else None)
    if not all(name in places for name in keys):
        return None
    held = tuple(places[name] for name in keys)
    shape, own = writer.shape, writer.axis
    if per_expert:
        shape, own = shape[1:], own - 1
        writer = replace(writer, form=_SINGLE.get(writer.form, writer.form))
    # Where both ways have the same shape, the class says which it is; the base's hash finds a class that is wrong.
    vector = writer.form in ("bias", "expert_bias")
    for turned in (False,) if vector else (axis != own, axis == own):
        lies = (*shape[:-2], *reversed(shape[-2:])) if turned else shape
        if all(place.shape == lies for place in held):
            axis = 2 * len(shape) - 3 - own if turned else own
            return Held(replace(writer, axis=axis, shape=lies), key, held, turned)
    return None


def _keys(key: str, experts: int | None) -> list[str]:
    return [key] if experts is None else [key.replace("{expert}", str(each)) for each in range(experts)]


def _same_values(folder: Path, held: Held, model: nn.Module) -> bool:
    weight = read_weight(model, held.stored.name).detach()
    return digest_of_parts(held.values(partial(read_tensor, folder)), weight.dtype) == digest(weight)
