"""One tensor on disk at a time: add a low-rank edit, measure it, and keep what brings the old bits back."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saber.ablation.edit import Certificate, LowRankEdit
from saber.errors import ExportError
from saber.model.anatomy import residual_first

CHUNK = 1 << 24
"""Elements that are edited at once (64 MiB in float32)."""
_BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True)
class Patch:
    """What patching one tensor did.

    Attributes:
        certificate: Measured on the values as they lie on disk.
        undo: Compressed differences of bit patterns, base minus prediction, chunk by chunk.
    """

    certificate: Certificate
    undo: Tensor


def apply_patch(weight: Tensor, edit: LowRankEdit, axis: int, *, chunk: int = CHUNK) -> Patch:
    """Write `round(fp32(W) + left @ right)` over W, rounding once.

    The undo record is small: `round(W' - left @ right)` is the base again, but for an occasional last bit.

    Args:
        weight: The tensor as it lies on disk; overwritten.
        edit: Its edit.
        axis: Axis of the tensor along d_model.
        chunk: Most elements at once.

    Raises:
        ExportError: An edited value is not finite in the tensor's type.
    """
    tally = _Tally(edit, 1 if weight.ndim == 2 else weight.shape[0])
    packer = zlib.compressobj(1)
    packed = []
    for experts, part, right in _chunks(weight, edit, axis, chunk):
        base = part.clone()
        exact = base.float() + edit.left @ right
        rounded = exact.to(weight.dtype)
        if not torch.isfinite(rounded).all():
            raise ExportError(
                f"{edit.writer}: edited values do not fit {weight.dtype}",
                hint="The base holds values that are not finite, or the edit belongs to another model.",
            )
        part.copy_(rounded)
        tally.add(experts, base.float(), exact, rounded.float())
        packed.append(packer.compress(_difference(base, _prediction(rounded, edit.left, right))))
    packed.append(packer.flush())
    undo = torch.frombuffer(bytearray(b"".join(packed)), dtype=torch.uint8)
    return Patch(tally.certificate(), undo)


def revert_patch(weight: Tensor, edit: LowRankEdit, axis: int, undo: Tensor, *, chunk: int = CHUNK) -> None:
    """Put the base's bits back over an edited tensor.

    Raises:
        ExportError: The undo record does not fit the tensor.
    """
    unpacker = zlib.decompressobj()
    try:
        differences = unpacker.decompress(undo.numpy().tobytes()) + unpacker.flush()
    except zlib.error as error:
        raise ExportError(f"{edit.writer}: the undo record is corrupt ({error})", hint=_AGAIN) from error
    if len(differences) != weight.numel() * weight.dtype.itemsize:
        raise ExportError(f"{edit.writer}: the undo record does not fit {list(weight.shape)}", hint=_AGAIN)
    start = 0
    for _, part, right in _chunks(weight, edit, axis, chunk):
        stop = start + part.numel() * weight.dtype.itemsize
        part.copy_(_restored(_prediction(part, edit.left, right), differences[start:stop]))
        start = stop


_AGAIN = "The exported folder was changed; download the base model again."


def measure(base: Tensor, edited: Tensor, edit: LowRankEdit, axis: int, *, chunk: int = CHUNK) -> Certificate:
    """Certificate of an edited tensor, given its base."""
    tally = _Tally(edit, 1 if base.ndim == 2 else base.shape[0])
    parts = zip(_chunks(base, edit, axis, chunk), _chunks(edited, edit, axis, chunk), strict=True)
    for (experts, before, right), (_, after, _) in parts:
        tally.add(experts, before.float(), before.float() + edit.left @ right, after.float())
    return tally.certificate()


class _Tally:
    """Sums behind a certificate, over chunks; one row an expert, one column a direction."""

    def __init__(self, edit: LowRankEdit, experts: int) -> None:
        self._edit = edit
        empty = torch.zeros(experts, edit.directions.shape[1], dtype=torch.float64)
        self._before, self._wanted, self._left = empty.clone(), empty.clone(), empty.clone()
        self._base = self._change = 0.0

    def add(self, experts: slice, base: Tensor, exact: Tensor, rounded: Tensor) -> None:
        for total, weight in ((self._before, base), (self._wanted, exact), (self._left, rounded)):
            total[experts] += (self._edit.directions.T @ weight).double().square().sum(-1)
        self._base += float(base.square().sum(dtype=torch.float64))
        self._change += float((rounded - base).square().sum(dtype=torch.float64))

    def certificate(self) -> Certificate:
        before = self._before.sqrt().clamp_min(1e-30)
        return Certificate(
            self._edit.writer,
            float((self._left.sqrt() / before).max()),
            float((self._wanted.sqrt() / before).max()),
            (self._change / max(self._base, 1e-60)) ** 0.5,
            self._edit.left.shape[1],
        )


def _chunks(
    weight: Tensor, edit: LowRankEdit, axis: int, limit: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Views (experts, d_model, columns) of a tensor, each with its experts and its part of `right`."""
    view = residual_first(weight, axis)
    right = edit.right
    if view.ndim == 2:
        view, right = view[None], right[None]
    experts, d_model, d_in = view.shape
    columns = min(d_in, max(1, limit // d_model))
    group = max(1, limit // (d_model * d_in))
    for first in range(0, experts, group):
        chosen = slice(first, first + group)
        for column in range(0, d_in, columns):
            span = slice(column, column + columns)
            yield chosen, view[chosen, :, span], right[chosen, :, span]


def _prediction(rounded: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """`round(W' - left @ right)`, the same bits on every machine: products and sums one rank at a time."""
    value = rounded.float()
    for rank in range(left.shape[1]):
        value = value - left[:, rank, None] * right[:, None, rank]
    return value.to(rounded.dtype)


def _difference(base: Tensor, predicted: Tensor) -> bytes:
    """Bit patterns of the base minus those predicted, low bytes of all elements first (mostly zeros)."""
    difference = _patterns(base) - _patterns(predicted)
    return difference.view(np.uint8).reshape(-1, base.dtype.itemsize).T.tobytes()


def _restored(predicted: Tensor, difference: bytes) -> Tensor:
    width = predicted.dtype.itemsize
    planes = np.frombuffer(difference, np.uint8).reshape(width, -1).T
    patterns = _patterns(predicted) + np.ascontiguousarray(planes).view(_BITS[width]).reshape(-1)
    return torch.from_numpy(patterns.view(np.uint8)).view(predicted.dtype).reshape(predicted.shape)


def _patterns(values: Tensor) -> np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]:
    flat: np.ndarray[tuple[int], np.dtype[np.unsignedinteger]] = (
        values.contiguous().reshape(-1).view(torch.uint8).numpy().view(_BITS[values.dtype.itemsize])
    )
    return flat
