"""The same edit three ways: on a running model, in place with bit-exact undo, and as a certificate of what it did."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from saber.ablation.edit import Certificate, EditSet, LowRankEdit
from saber.ablation.hooks import hook_all
from saber.errors import EditError
from saber.model.anatomy import Anatomy, Writer, own_layout, residual_first
from saber.model.weights import read_weight, require_plain, shape_of


def edited_weight(weight: Tensor, edit: LowRankEdit, writer: Writer) -> Tensor:
    """`W + left @ right` in fp32, rounded once to the weight's own type and layout."""
    device = weight.device
    exact = residual_first(weight, writer).float() + edit.left.to(device) @ edit.right.to(device)
    return own_layout(exact.to(weight.dtype), writer)


def digest(weight: Tensor) -> str:
    """sha256 of a weight's float32 values, so it is the same for fp32 and bf16 copies of the same checkpoint."""
    return digest_of_parts([weight], weight.dtype)


def digest_of_parts(parts: Iterable[Tensor], dtype: torch.dtype = torch.float32) -> str:
    """`digest` of a weight that comes in parts, as if it had been loaded in a type."""
    sha = hashlib.sha256()
    for part in parts:
        for chunk in part.detach().flatten().split(1 << 24):  # bounded memory: 64 MiB of float32 at a time
            sha.update(chunk.to(dtype).float().cpu().contiguous().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def writers_hash(digests: Mapping[str, str]) -> str:
    """One hash over the digests of named weights."""
    lines = (f"{name} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def base_hash(model: nn.Module, writers: Iterable[Writer]) -> str:
    """Hash of the writers' current weights."""
    return writers_hash({writer.name: digest(read_weight(model, writer.name)) for writer in writers})


@contextmanager
def applied(model: nn.Module, anatomy: Anatomy, edits: EditSet | None) -> Iterator[None]:
    """The edited model while the context is open; the base again, bit for bit, after it.

    Hooks on the writers' raw outputs touch no weight. What hooks cannot express (some of a block's experts only,
    lookup tables that are no module) is edited in place for the time, and only the slices concerned are copied.
    """
    writers = anatomy.named()
    handles, rest = hook_all(model, writers, edits or ())
    swapped = _Swapped(model, anatomy)
    try:
        for edit in rest:
            swapped.put(edit)
        yield
    finally:
        swapped.restore()
        for handle in handles:
            handle.remove()


class _Swapped:
    """Slices of weights that are edited for a while."""

    def __init__(self, model: nn.Module, anatomy: Anatomy) -> None:
        self._model, self._tied, self._writers = model, anatomy.tied_embedding, anatomy.named()
        self._original: list[tuple[Tensor, Tensor]] = []

    def put(self, edit: LowRankEdit) -> None:
        """Edit the experts that the edit names, or the whole weight."""
        writer = self._writers[edit.writer]
        require_plain(self._model, edit.writer)
        if edit.writer == self._tied:
            raise EditError(
                f"{edit.writer} is the unembedding too and no torch embedding: edited for a while, both would change",
                hint='Leave "embedding" out of ablation.writers.',
            )
        weight = self._model.get_parameter(edit.writer).data
        for part, own in _parts(weight, edit):
            self._replace(part, edited_weight(part, own, writer))

    def _replace(self, place: Tensor, value: Tensor) -> None:
        self._original.append((place, place.clone()))
        place.copy_(value)

    def restore(self) -> None:
        """Put the original bits back."""
        for place, value in reversed(self._original):
            place.copy_(value)
        self._original.clear()


class InPlace:
    """Edited weights in the model itself; `undo()` puts the original bits back."""

    def __init__(self, model: nn.Module, anatomy: Anatomy, edits: EditSet) -> None:
        """Apply the edits; a tied embedding that is edited gets weights of its own.

        Raises:
            EditError: The model's writers are not the ones the edit was made for, or they cannot be edited in place.
        """
        writers = anatomy.named()
        check_base(model, anatomy, edits)
        for edit in edits:
            require_plain(model, edit.writer)
        self._model = model
        self._original: dict[str, nn.Parameter] = {}
        self._values: dict[str, Tensor] = {}
        for edit in edits:
            writer = writers[edit.writer]
            parameter = model.get_parameter(edit.writer)
            changed = edited_weight(parameter.data, edit, writer)
            if writer.name == anatomy.tied_embedding:
                self._original[edit.writer] = parameter
                own = nn.Parameter(changed, requires_grad=parameter.requires_grad)
                setattr(model.get_submodule(writer.module), writer.name.rpartition(".")[2], own)
            else:
                self._values[edit.writer] = parameter.detach().clone()
                parameter.data.copy_(changed)

    def undo(self) -> None:
        """Restore the original weights, bit for bit, and their ties."""
        for name, value in self._values.items():
            self._model.get_parameter(name).data.copy_(value)
        for name, parameter in self._original.items():
            module, _, leaf = name.rpartition(".")
            setattr(self._model.get_submodule(module), leaf, parameter)
        self._values.clear()
        self._original.clear()


def check_base(model: nn.Module, anatomy: Anatomy, edits: EditSet) -> None:
    """Refuse an edit that belongs to other weights, or that this model has had already."""
    writers = anatomy.named()
    own = "Apply an edit only to the base model that it was made from."
    missing = [name for name in edits.edits if name not in writers]
    if missing:
        raise EditError(f"the edit changes {missing[0]}, which this model does not have", hint=own)
    for edit in edits:
        wanted = _view_shape(writers[edit.writer], shape_of(model, edit.writer))
        if (edit.left.shape[0], edit.right.shape[-1]) != wanted[-2:]:
            raise EditError(
                f"the edit of {edit.writer} is {edit.left.shape[0]} x {edit.right.shape[-1]}, "
                f"the model's writer is {wanted[-2]} x {wanted[-1]}",
                hint=own,
            )
    found = base_hash(model, tuple(writers[name] for name in edits.edits))
    if found != edits.base_sha256:
        raise EditError(
            f"the model's writers hash to {found[:12]}, the edit was made for {edits.base_sha256[:12]}",
            hint="Either this is another base model, or the edit has been applied to it already.",
        )


def _view_shape(writer: Writer, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(residual_first(torch.empty(shape, device="meta"), writer).shape)


def certify(model: nn.Module, anatomy: Anatomy, edits: EditSet) -> list[Certificate]:
    """Certificates of all edits, from the base's weights and the weights as they round."""
    writers = anatomy.named()
    return [certificate(read_weight(model, e.writer).detach(), e, writers[e.writer]) for e in edits]


def certificate(weight: Tensor, edit: LowRankEdit, writer: Writer) -> Certificate:
    """What an edit removed from one writer and how much it changes, measured on the edited experts only.

    In M0 at full strength nothing of a component is wanted to be left. Another input-side mode leaves what the writer
    makes of preserved inputs, which is most of the matrix: there `wanted_left` is no goal, only what
    `component_left` must agree with, and the relative change says how large the edit is.
    """
    component_left = wanted_left = change = size = 0.0
    for part, own in _parts(weight, edit):
        base = residual_first(part, writer).float().cpu()
        after = residual_first(edited_weight(part, own, writer), writer).float().cpu()
        norms = _left(edit, base).clamp_min(1e-30)
        component_left = max(component_left, float((_left(edit, after) / norms).max()))
        wanted_left = max(wanted_left, float((_left(edit, base + own.delta()) / norms).max()))
        change += float((after - base).double().square().sum())
        size += float(base.double().square().sum())
    relative = (change / max(size, 1e-60)) ** 0.5
    return Certificate(edit.writer, component_left, wanted_left, relative, edit.left.shape[1], edit.mode)


def _parts(weight: Tensor, edit: LowRankEdit) -> Iterator[tuple[Tensor, LowRankEdit]]:
    """The weight, or its edited experts one at a time: in float32 a whole block of experts may not fit."""
    if edit.right.ndim == 2:
        yield weight, edit
        return
    for expert in edit.experts if edit.experts is not None else range(len(weight)):
        one = slice(expert, expert + 1)
        yield weight[one], replace(edit, right=edit.right[one])


def _left(edit: LowRankEdit, weight: Tensor) -> Tensor:
    """Norm of what a weight writes along each direction (and for each expert)."""
    left: Tensor = (edit.directions.T @ weight).norm(dim=-1)
    return left
