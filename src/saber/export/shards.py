"""Safetensors shards as bytes on disk: where each tensor lies, how to read or patch one without the rest."""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saber.errors import ExportError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_DOWNLOAD = "Download the checkpoint again, or compare its files' hashes with the original's."


@dataclass(frozen=True)
class Place:
    """Where a tensor lies.

    Attributes:
        file: Name of the shard.
        key: Name of the tensor on disk.
        code: Safetensors' name of its type.
        shape: Its shape.
        start: First byte, from the beginning of the file.
        stop: Byte after the last.
    """

    file: str
    key: str
    code: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def editable(self) -> bool:
        """Whether its values are plain floating-point numbers."""
        return self.code in _DTYPES

    @property
    def dtype(self) -> torch.dtype:
        """Type of the values.

        Raises:
            ExportError: Not a plain floating-point type: quantised or unknown.
        """
        if not self.editable:
            raise ExportError(
                f"{self.file}: tensor {self.key} has type {self.code}; SABER edits {', '.join(_DTYPES)}",
                hint="Use the unquantised (bf16) checkpoint.",
            )
        return _DTYPES[self.code]


def places(folder: Path) -> dict[str, Place]:
    """Every tensor of the checkpoint that transformers loads from a folder: of one file, if there is a whole one.

    Raises:
        ExportError: No weights, a shard that is missing or corrupt, an index that names absent tensors.
    """
    if (folder / SINGLE).is_file():
        return read_header(folder / SINGLE)
    if not (folder / INDEX).is_file():
        found = ", ".join(sorted(path.name for path in folder.glob("*")))[:300] or "nothing"
        raise ExportError(f"{folder} has neither {SINGLE} nor {INDEX}; it has {found}", hint=_DOWNLOAD)
    index = _weight_map(folder / INDEX)
    headers = {file: read_header(folder / file) for file in sorted(set(index.values()))}
    for key, file in index.items():
        if key not in headers[file]:
            raise ExportError(f"{file}: tensor {key} is missing, though {INDEX} names it", hint=_DOWNLOAD)
    return {key: headers[file][key] for key, file in index.items()}


def _weight_map(path: Path) -> dict[str, str]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        return {str(key): str(file) for key, file in index.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{path.name} is not a valid index ({error!r})", hint=_DOWNLOAD) from error


def read_header(path: Path) -> dict[str, Place]:
    """Places of all tensors of one shard, checked against the file's size.

    Raises:
        ExportError: Missing, cut short, or not safetensors.
    """
    if not path.is_file():
        raise ExportError(f"{path.name} is missing from {path.parent}", hint=_DOWNLOAD)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if 8 + length > size:
            raise ExportError(f"{path.name} is cut short or not safetensors ({size} bytes)", hint=_DOWNLOAD)
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            found = {key: _place(path.name, key, entry, 8 + length) for key, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExportError(f"{path.name} has a corrupt header ({error!r})", hint=_DOWNLOAD) from error
    for place in found.values():
        if place.stop > size:
            raise ExportError(
                f"{path.name} is cut short: tensor {place.key} ends at byte {place.stop}, the file at {size}",
                hint=_DOWNLOAD,
            )
    return found


def _place(file: str, key: str, entry: dict[str, Any], offset: int) -> Place:
    start, stop = (int(value) for value in entry["data_offsets"])
    shape = tuple(int(length) for length in entry["shape"])
    code = str(entry["dtype"])
    if code in _DTYPES and stop - start != prod(shape) * _DTYPES[code].itemsize:
        raise ExportError(
            f"{file}: tensor {key} is {stop - start} bytes long, which does not fit {code} {list(shape)}",
            hint=_DOWNLOAD,
        )
    return Place(file, key, code, shape, offset + start, offset + stop)


def read_tensor(folder: Path, place: Place) -> Tensor:
    """One tensor, mapped from disk; writing to it changes no file."""
    return _map(folder, place, mmap.ACCESS_COPY)[1]


@contextmanager
def patching(folder: Path, place: Place) -> Iterator[Tensor]:
    """One tensor, mapped from disk; writing to it changes the file."""
    mapped, tensor = _map(folder, place, mmap.ACCESS_WRITE)
    yield tensor
    if mapped:
        mapped.flush()


def _map(folder: Path, place: Place, access: int) -> tuple[mmap.mmap | None, Tensor]:
    """Map a tensor's bytes only (whole shards can exceed memory); unmapped when the tensor is gone."""
    if place.stop == place.start:
        return None, torch.empty(place.shape, dtype=place.dtype)
    start = place.start - place.start % mmap.ALLOCATIONGRANULARITY
    with (folder / place.file).open("rb" if access == mmap.ACCESS_COPY else "r+b") as file:
        mapped = mmap.mmap(file.fileno(), place.stop - start, offset=start, access=access)
    flat = torch.frombuffer(mapped, dtype=place.dtype, count=prod(place.shape), offset=place.start - start)
    return mapped, flat.reshape(place.shape)


def files_of(folder: Path) -> dict[str, Path]:
    """All files of a model folder by relative name, sorted; `.git` and `.cache` are not part of the model."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: found[name] for name in sorted(found) if name.split("/")[0] not in (".git", ".cache")}
