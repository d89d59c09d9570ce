"""From a writer's name in memory to its tensor on disk, and the proof that it is the edit's base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from saber.ablation.apply import digest, writers_hash
from saber.ablation.edit import EditSet, LowRankEdit
from saber.errors import EditError, ExportError
from saber.export.edit_file import RECORD, read_record
from saber.export.shards import Place, read_tensor
from saber.model.anatomy import Anatomy, Writer


def writers_on_disk(
    folder: Path,
    places: Mapping[str, Place],
    edits: EditSet,
    anatomy: Anatomy,
    *,
    model: nn.Module | None = None,
) -> dict[str, Place]:
    """Tensor on disk behind every edited writer.

    The runtime name if it is there; else the one tensor whose name ends with the same path from `layers.N` on
    and has the writer's shape (and content, where several have: `model` is needed then).

    Raises:
        EditError: The edit belongs to another architecture.
        ExportError: A writer has no tensor, or several, on disk.
    """
    writers = {writer.name: writer for writer in anatomy.writers}
    found = {}
    for edit in edits:
        if edit.writer not in writers:
            raise EditError(f"the edit changes {edit.writer}, which this model does not have", hint=_OWN_BASE)
        writer = writers[edit.writer]
        _check_shape(writer, edit)
        found[writer.name] = _match(folder, places, anatomy, writer, model)
    return found


def check_disk_base(folder: Path, found: Mapping[str, Place], edits: EditSet) -> str:
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
    hashes = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        hashes.append(
            writers_hash({n: digest(read_tensor(folder, place).to(dtype)) for n, place in found.items()})
        )
        if hashes[-1] == edits.base_sha256:
            return hashes[0]
    also = " (the folder is an export by SABER itself)" if record else ""
    raise EditError(
        f"writers in {folder} hash to {hashes[0][:12]}, the edit was made for {edits.base_sha256[:12]}{also}",
        hint="Either this is another base model, or the edit has been applied to it already.",
    )


_OWN_BASE = "Apply an edit only to the base model that it was made from."


def _check_shape(writer: Writer, edit: LowRankEdit) -> None:
    lengths = [length for axis, length in enumerate(writer.shape) if axis != writer.axis]
    wanted = [*lengths[:-1], writer.shape[writer.axis], lengths[-1]]
    found = [*edit.right.shape[:-2], edit.left.shape[0], edit.right.shape[-1]]
    if wanted != found:
        raise EditError(f"the edit of {writer.name} is {found}, the model's writer {wanted}", hint=_OWN_BASE)


def _match(
    folder: Path, places: Mapping[str, Place], anatomy: Anatomy, writer: Writer, model: nn.Module | None
) -> Place:
    exact = places.get(writer.name)
    if exact and exact.shape == writer.shape:
        return exact
    above = anatomy.layers.rpartition(".")[0]
    tail = writer.name.removeprefix(f"{above}.") if above else writer.name
    alike = [p for key, p in places.items() if f".{key}".endswith(f".{tail}") and p.shape == writer.shape]
    if len(alike) > 1 and model is not None:
        alike = [place for place in alike if _same_values(folder, place, model, writer)]
    if len(alike) == 1:
        return alike[0]
    number = f"layers.{writer.layer}."
    near = [f"{key} {list(p.shape)} in {p.file}" for key, p in places.items() if number in key]
    raise ExportError(
        f"{writer.name} {list(writer.shape)} matches {len(alike)} tensors on disk; block {writer.layer} has "
        f"{'; '.join(near[:12]) or 'none'}",
        hint="The checkpoint is incomplete, or it names its tensors in a way that SABER does not know.",
    )


def _same_values(folder: Path, place: Place, model: nn.Module, writer: Writer) -> bool:
    weight = model.get_parameter(writer.name).detach().cpu()
    return bool(torch.equal(read_tensor(folder, place).to(weight.dtype), weight))
