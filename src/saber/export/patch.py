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
from saber.model.anatomy import Writer, residual_first

CHUNK = 1 << 24
"""Elements that are edited at once (64 MiB in float32)."""
_BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True)
class Piece:
    """The part of an edit that concerns one tensor on disk.

    Attributes:
        edit: The whole edit of the writer.
        stored: The writer as it lies in the tensor: its axis and shape are those of the tensor.
        expert: Expert that the tensor holds; None if it holds the whole writer.
    """

    edit: LowRankEdit
    stored: Writer
    expert: int | None = None

    @property
    def name(self) -> str:
        """Name of its undo record."""
        return self.edit.writer if self.expert is None else f"{self.edit.writer}.{self.expert}"

    def chunks(self, weight: Tensor, limit: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Views (experts, d_model, columns) of the tensor, each with its experts and its part of `right`.

        Experts that the edit leaves alone do not come.
        """
        view, right = residual_first(weight, self.stored), self.edit.right
        if self.expert is not None:
            right = right[self.expert]
        if view.ndim == 2:
            view, right = view[None], right[None]
        _, d_model, d_in = view.shape
        columns = min(d_in, max(1, limit // d_model))
        for first, stop in self._runs(len(view), max(1, limit // (d_model * d_in))):
            number = slice(first, stop) if self.expert is None else slice(self.expert, self.expert + 1)
            for column in range(0, d_in, columns):
                span = slice(column, column + columns)
                yield number, view[first:stop, :, span], right[first:stop, :, span]

    def _runs(self, experts: int, limit: int) -> list[tuple[int, int]]:
        """Edited experts of the tensor as ranges of neighbours, none longer than the limit."""
        chosen = self.edit.experts if self.expert is None else None
        runs: list[tuple[int, int]] = []
        for number in range(experts) if chosen is None else sorted(chosen):
            first, stop = runs[-1] if runs else (-1, -1)
            if number == stop and stop - first < limit:
                runs[-1] = (first, number + 1)
            else:
                runs.append((number, number + 1))
        return runs


class Tally:
    """Sums behind a certificate, over all tensors and chunks of a writer; one row an expert, one column a direction."""

    def __init__(self, edit: LowRankEdit) -> None:
        self._edit = edit
        experts = len(edit.right) if edit.right.ndim == 3 else 1
        empty = torch.zeros(experts, edit.directions.shape[1], dtype=torch.float64)
        self._before, self._wanted, self._left = empty.clone(), empty.clone(), empty.clone()
        self._base = self._change = 0.0

    def add(self, experts: slice, base: Tensor, exact: Tensor, rounded: Tensor) -> None:
        """Count a chunk: the base, the edit before and after rounding, all in float32."""
        # A bias is a single column, whose component may be next to nothing: there every digit counts.
        dtype = torch.float64 if base.shape[-1] == 1 else torch.float32
        directions = self._edit.directions.T.to(dtype)
        for total, weight in ((self._before, base), (self._wanted, exact), (self._left, rounded)):
            total[experts] += (directions @ weight.to(dtype)).double().square().sum(-1)
        self._base += float(base.square().sum(dtype=torch.float64))
        self._change += float((rounded - base).square().sum(dtype=torch.float64))

    def certificate(self) -> Certificate:
        """What is left of each direction in the edited experts."""
        before = self._before.sqrt().clamp_min(1e-30)
        return Certificate(
            self._edit.writer,
            float((self._left.sqrt() / before).max()),
            float((self._wanted.sqrt() / before).max()),
            (self._change / max(self._base, 1e-60)) ** 0.5,
            self._edit.left.shape[1],
            self._edit.mode,
        )


def apply_patch(weight: Tensor, piece: Piece, tally: Tally, *, chunk: int = CHUNK) -> Tensor:
    """Write `round(fp32(W) + left @ right)` over W, rounding once.

    Args:
        weight: The tensor as it lies on disk; overwritten.
        piece: What to add to it.
        tally: Counts what was done, on the values as they lie on disk.
        chunk: Most elements at once.

    Returns:
        The undo record: compressed differences of bit patterns, base minus prediction, chunk by chunk. It is small:
        `round(W' - left @ right)` is the base again, but for an occasional last bit.

    Raises:
        ExportError: An edited value is not finite in the tensor's type.
    """
    edit = piece.edit
    packer = zlib.compressobj(1)
    packed = []
    for experts, part, right in piece.chunks(weight, chunk):
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
    return torch.frombuffer(bytearray(b"".join(packed)), dtype=torch.uint8)


def revert_patch(weight: Tensor, piece: Piece, undo: Tensor, *, chunk: int = CHUNK) -> None:
    """Put the base's bits back over an edited tensor.

    Raises:
        ExportError: The undo record does not fit the tensor.
    """
    differences = _Unpacked(undo, f"{piece.edit.writer}: the undo record")
    for _, part, right in piece.chunks(weight, chunk):
        difference = differences.take(part.numel() * weight.dtype.itemsize)
        part.copy_(_restored(_prediction(part, piece.edit.left, right), difference))
    differences.finish()


def measure(base: Tensor, edited: Tensor, piece: Piece, tally: Tally, *, chunk: int = CHUNK) -> None:
    """Count an edited tensor, given its base."""
    parts = zip(piece.chunks(base, chunk), piece.chunks(edited, chunk), strict=True)
    for (experts, before, right), (_, after, _) in parts:
        tally.add(experts, before.float(), before.float() + piece.edit.left @ right, after.float())


class _Unpacked:
    """A compressed record, taken from the front: never more of it in memory than was asked for."""

    def __init__(self, packed: Tensor, name: str) -> None:
        self._name, self._rest = name, packed.numpy().tobytes()
        self._unpacker = zlib.decompressobj()

    def take(self, length: int) -> bytes:
        """The next bytes."""
        parts: list[bytes] = []
        while length:
            part = self._next(length)
            if not part:
                raise self._misfit()
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def finish(self) -> None:
        """Nothing may be left over."""
        if self._next(1) or not self._unpacker.eof:
            raise self._misfit()

    def _next(self, most: int) -> bytes:
        try:
            part = self._unpacker.decompress(self._rest, most)
        except zlib.error as error:
            raise ExportError(f"{self._name} is corrupt ({error})", hint=_AGAIN) from error
        self._rest = self._unpacker.unconsumed_tail
        return part

    def _misfit(self) -> ExportError:
        return ExportError(f"{self._name} does not fit the tensor", hint=_AGAIN)


_AGAIN = "The exported folder was changed; download the base model again."


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
