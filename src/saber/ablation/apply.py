"""The same edit three ways: hooks that touch no weight, in place with bit-exact undo, and as plain tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saber.ablation.edit import Certificate, EditSet, LowRankEdit
from saber.errors import EditError
from saber.model.anatomy import Anatomy, Writer, residual_first


def edited_weight(weight: Tensor, edit: LowRankEdit, axis: int) -> Tensor:
    """`W + left @ right` in fp32, rounded once to the weight's own type and layout."""
    device = weight.device
    exact = residual_first(weight, axis).float() + edit.left.to(device) @ edit.right.to(device)
    rounded = exact.to(weight.dtype)
    return rounded if axis == weight.ndim - 2 else rounded.transpose(-1, -2).contiguous()


def digest(weight: Tensor) -> str:
    """sha256 of a weight's float32 values, so it is the same for fp32 and bf16 copies of the same checkpoint."""
    sha = hashlib.sha256()
    for chunk in weight.detach().flatten().split(1 << 24):  # bounded memory: 64 MiB of float32 at a time
        sha.update(chunk.float().cpu().contiguous().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def writers_hash(digests: Mapping[str, str]) -> str:
    """One hash over the digests of named weights."""
    lines = (f"{name} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def base_hash(model: nn.Module, writers: Iterable[Writer]) -> str:
    """Hash of the writers' current weights."""
    return writers_hash({writer.name: digest(model.get_parameter(writer.name)) for writer in writers})


@contextmanager
def applied(model: nn.Module, anatomy: Anatomy, edits: EditSet | None) -> Iterator[None]:
    """Hooks on the writers' raw outputs while the context is open; no weight is touched.

    A linear gets `y + left (right x)`; a fused expert block `y + left (read y)`, which is the same for every expert.
    """
    handles = []
    writers = {writer.name: writer for writer in anatomy.writers}
    try:
        for edit in edits or ():
            writer = writers[edit.writer]
            module = model.get_submodule(writer.module)
            device = model.get_parameter(writer.name).device
            hook = _output_hook(edit, device) if writer.kind == "experts" else _input_hook(edit, device)
            handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _input_hook(edit: LowRankEdit, device: torch.device) -> Callable[..., Tensor]:
    left, right = edit.left.to(device), edit.right.to(device)

    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        added: Tensor = (args[0].float() @ right.T) @ left.T
        return output + added.to(output.dtype)

    return hook


def _output_hook(edit: LowRankEdit, device: torch.device) -> Callable[..., Tensor]:
    left, read = edit.left.to(device), edit.read.to(device)

    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output + ((output.float() @ read.T) @ left.T).to(output.dtype)

    return hook


class InPlace:
    """Edited weights in the model itself; `undo()` puts the original bits back."""

    def __init__(self, model: nn.Module, anatomy: Anatomy, edits: EditSet) -> None:
        """Apply the edits.

        Raises:
            EditError: The model's writers are not the ones the edit was made for.
        """
        writers = {writer.name: writer for writer in anatomy.writers}
        check_base(model, anatomy, edits)
        self._model = model
        self._original: dict[str, Tensor] = {}
        for edit in edits:
            parameter = model.get_parameter(edit.writer)
            self._original[edit.writer] = parameter.detach().clone()
            parameter.data.copy_(edited_weight(parameter.data, edit, writers[edit.writer].axis))

    def undo(self) -> None:
        """Restore the original weights, bit for bit."""
        for name, value in self._original.items():
            self._model.get_parameter(name).data.copy_(value)
        self._original.clear()


def check_base(model: nn.Module, anatomy: Anatomy, edits: EditSet) -> None:
    """Refuse an edit that belongs to other weights, or that this model has had already."""
    writers = {writer.name: writer for writer in anatomy.writers}
    missing = [name for name in edits.edits if name not in writers]
    if missing:
        raise EditError(
            f"the edit changes {missing[0]}, which this model does not have",
            hint="Apply an edit only to the base model that it was made from.",
        )
    for edit in edits:
        shape = residual_first(model.get_parameter(edit.writer), writers[edit.writer].axis).shape
        if (edit.left.shape[0], edit.right.shape[-1]) != (shape[-2], shape[-1]):
            raise EditError(
                f"the edit of {edit.writer} is {edit.left.shape[0]} x {edit.right.shape[-1]}, "
                f"the model's writer is {shape[-2]} x {shape[-1]}",
                hint="Apply an edit only to the base model that it was made from.",
            )
    found = base_hash(model, tuple(writers[name] for name in edits.edits))
    if found != edits.base_sha256:
        raise EditError(
            f"the model's writers hash to {found[:12]}, the edit was made for {edits.base_sha256[:12]}",
            hint="Either this is another base model, or the edit has been applied to it already.",
        )


def certify(model: nn.Module, anatomy: Anatomy, edits: EditSet) -> list[Certificate]:
    """Certificates of all edits, from the base's weights and the weights as they round."""
    writers = {writer.name: writer for writer in anatomy.writers}
    rows = []
    for edit in edits:
        axis = writers[edit.writer].axis
        weight = model.get_parameter(edit.writer).detach()
        base = residual_first(weight, axis).float().cpu()
        rounded = residual_first(edited_weight(weight, edit, axis), axis).float().cpu()
        before = (edit.directions.T @ base).flatten(2 if base.ndim == 3 else 1)
        norms = before.norm(dim=-1).clamp_min(1e-30)
        left = (edit.directions.T @ rounded).flatten(2 if base.ndim == 3 else 1).norm(dim=-1)
        wanted = (edit.directions.T @ (base + edit.delta())).flatten(2 if base.ndim == 3 else 1).norm(dim=-1)
        rows.append(
            Certificate(
                edit.writer,
                float((left / norms).max()),
                float((wanted / norms).max()),
                float((rounded - base).norm() / base.norm().clamp_min(1e-30)),
                edit.left.shape[1],
            )
        )
    return rows
