"""An edit for other values of the same weights: dequantised ones, or the master behind quantised ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from saber.ablation.apply import digest, writers_hash
from saber.ablation.edit import EditSet, LowRankEdit
from saber.errors import EditError
from saber.export.disk_names import Held, writers_on_disk
from saber.export.shards import places, read_tensor
from saber.model.anatomy import Anatomy, Writer, residual_first
from saber.model.quantised import through

_ROUNDING = 2.0**-8
"""Largest relative difference of `read @ W` that rounding W to bf16 explains: twice the largest of a single value."""
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def rebased(
    folder: Path,
    edits: EditSet,
    anatomy: Anatomy,
    *,
    quantise: str = "keep",
    model: nn.Module | None = None,
) -> tuple[EditSet, float]:
    """The edit with `right = read @ W` from a folder's tensors; `left`, `read` and the directions stay.

    Where an input-side mode other than M0 chose `right`, it stays too: it reads inputs, and what it is to remove of
    them differs by the rounding alone. Nothing in it tells one base from another, so such writers are only taken
    over if the base's hash is the same, or writers in M0 show that it is.

    The operator depends on the directions and on norms, which nobody quantises; only its product with the weight does.
    The folder must hold what the edit was made from: the same weights up to rounding, or weights that bitsandbytes
    rounds to them.

    Args:
        folder: A checkpoint with plain weights.
        edits: The edit.
        anatomy: Anatomy of its base.
        quantise: What bitsandbytes did to the weights before the edit was made: `model.quantise` of the run.
        model: The base in memory: only needed where names on disk are ambiguous.

    Returns:
        The edit, and the largest relative difference between what the folder would give and what the edit holds.

    Raises:
        EditError: The folder holds another model, or nothing shows that it does not.
        ExportError: A writer has no tensor, or several, on disk.
    """
    writers = anatomy.named()
    there = writers_on_disk(folder, places(folder), edits, anatomy, model=model)
    new: dict[str, LowRankEdit] = {}
    digests: dict[str, str] = {}
    worst = 0.0
    for edit in edits:
        weight = _weight(folder, there[edit.writer], writers[edit.writer])
        view = residual_first(weight, writers[edit.writer]).float()
        digests[edit.writer] = digest(weight)
        if edit.mode != "M0":
            new[edit.writer] = edit
            continue
        worst = max(worst, _difference(edit, view, writers[edit.writer], quantise))
        new[edit.writer] = replace(edit, right=_right(edit, view))
    if not worst <= _ROUNDING:
        raise EditError(
            f"the writers in {folder} are not those that the edit was made from: what they write along its "
            f"directions differs by {worst:.1%}, where rounding explains {_ROUNDING:.1%}",
            hint="Apply an edit only to the base model that it was made from.",
        )
    found = writers_hash(digests)
    if found != edits.base_sha256 and all(edit.mode != "M0" for edit in edits):
        raise EditError(
            f"the writers in {folder} hash to {found[:12]}, the edit was made for {edits.base_sha256[:12]}, and all of "
            "them are edited from their inputs, so that nothing shows whether they differ by rounding alone",
            hint="Load the base in the type of the export (--dtype bfloat16) when the edit is made, or export an "
            "adapter.",
        )
    return EditSet(new, found), worst


def _weight(folder: Path, held: Held, writer: Writer) -> Tensor:
    """A writer's parameter from its tensors on disk, as it lies in memory."""
    parts = list(held.values(partial(read_tensor, folder)))
    return parts[0] if len(parts) == 1 and parts[0].ndim == len(writer.shape) else torch.stack(parts)


def _right(edit: LowRankEdit, view: Tensor) -> Tensor:
    """`read @ W`, which is 0 for experts that the edit leaves alone."""
    right = edit.read @ view
    if edit.experts is not None:
        kept = torch.zeros(len(right), dtype=torch.bool)
        kept[list(edit.experts)] = True
        right[~kept] = 0.0
    return right


def _difference(edit: LowRankEdit, view: Tensor, writer: Writer, quantise: str) -> float:
    """Relative difference of `right`, for the way of quantising that comes closest."""
    expected = edit.read.norm() * view.norm() / view.shape[-2] ** 0.5  # what a random direction would read
    scale = torch.maximum(edit.right.norm(), expected).clamp_min(1e-30)
    return min(
        float((_right(edit, each) - edit.right).norm() / scale) for each in _readings(view, writer, quantise)
    )


def _readings(view: Tensor, writer: Writer, quantise: str) -> Iterator[Tensor]:
    """The weight as it is, and as bitsandbytes may have rounded it, which only touches matrices."""
    yield view
    if quantise in ("4bit", "8bit") and writer.form == "matrix":
        yield from (through(view, quantise, dtype) for dtype in _TYPES)
