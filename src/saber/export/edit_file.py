"""An edit on disk: its factors as safetensors, its base, hashes and certificates as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from saber.ablation.edit import Certificate, EditSet, LowRankEdit
from saber.ablation.reader import InputMode
from saber.errors import EditError, StoreError
from saber.provenance import settings_hash, sha256_file
from saber.store import RunFolder, read_json, read_tensors, write_json, write_tensors

RECORD = "saber_edit.json"
"""Record of the edit inside an exported folder."""
TENSORS = "saber_edit.safetensors"
"""Factors of the edit inside an exported folder."""
UNDO = "saber_undo.safetensors"
"""What brings the base back from an exported checkpoint."""
FORMAT = 2
"""Format of edits whose writers are all in M0."""
FORMAT_WITH_MODES = 3
"""The same with a mode beside the rank of a writer; a SABER that knows no modes must not read it as M0."""
_SEAL = "record_sha256"
_PARTS = ("left", "right", "read", "directions")


def save_edit(
    tensors: Path,
    record: Path,
    edits: EditSet,
    certificates: Sequence[Certificate],
    meta: Mapping[str, Any],
    **sections: Any,
) -> None:
    """Write an edit as two files; the record, written last, holds the hash of the other.

    Args:
        tensors: The .safetensors file.
        record: The .json file.
        edits: The edit.
        certificates: What it did to each writer.
        meta: Base model, settings: anything that JSON can hold.
        **sections: Further sections of the record.
    """
    parts = {f"{edit.writer}.{part}": getattr(edit, part) for edit in edits for part in _PARTS}
    write_tensors(tensors, parts, {"format": "pt", "edit_sha256": edits.sha256})
    write_json(
        record,
        sealed(
            {
                "format": FORMAT if all(edit.mode == "M0" for edit in edits) else FORMAT_WITH_MODES,
                "edit_sha256": edits.sha256,
                "base_sha256": edits.base_sha256,
                "tensors_sha256": sha256_file(tensors),
                "writers": {edit.writer: _row(edit) for edit in edits},
                "certificates": [asdict(certificate) for certificate in certificates],
                "meta": dict(meta),
                **sections,
            }
        ),
    )


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its own hash, so that a change of the record itself is found."""
    rest = json.loads(json.dumps({key: value for key, value in record.items() if key != _SEAL}))
    return {**rest, _SEAL: settings_hash(rest)}


def load_edit(path: Path) -> tuple[EditSet, dict[str, Any]]:
    """Read an edit.

    Args:
        path: A run folder, an exported folder, or one of the edit's two files.

    Returns:
        The edit and its record.

    Raises:
        EditError: Missing, corrupt, or its hashes do not match.
    """
    record_path, tensors_path = _paths(path)
    record = read_record(record_path)
    if not tensors_path.is_file():
        raise EditError(
            f"{tensors_path} does not exist", hint="An edit is two files, .json and .safetensors."
        )
    if sha256_file(tensors_path) != record["tensors_sha256"]:
        raise EditError(f"{tensors_path} is not the file that {record_path.name} describes", hint=_AGAIN)
    try:
        tensors, _ = read_tensors(tensors_path)
        edits = {name: _edit(name, row, tensors) for name, row in record["writers"].items()}
    except (StoreError, KeyError, TypeError) as error:
        raise EditError(f"{tensors_path} is corrupt ({error})", hint=_AGAIN) from error
    loaded = EditSet(edits, record["base_sha256"])
    if loaded.sha256 != record["edit_sha256"]:
        raise EditError(
            f"{tensors_path} holds edit {loaded.sha256[:12]}, the record says {record['edit_sha256'][:12]}",
            hint=_AGAIN,
        )
    return loaded, record


_AGAIN = "Copy the whole run or exported folder again; its files belong together."


def read_record(path: Path) -> dict[str, Any]:
    """The JSON half of an edit.

    Raises:
        EditError: Missing, corrupt, or of a format that this SABER does not read.
    """
    try:
        record = read_json(path)
    except StoreError as error:
        raise EditError(error.message, hint="Give a run folder, an exported folder, or edit.json.") from error
    needed = ("format", "edit_sha256", "base_sha256", "tensors_sha256", "writers", "certificates", "meta")
    missing = [key for key in needed if not isinstance(record, dict) or key not in record]
    if missing:
        raise EditError(f"{path} is not a SABER edit: it lacks {', '.join(missing)}", hint=_AGAIN)
    if record["format"] not in (FORMAT, FORMAT_WITH_MODES):
        raise EditError(
            f"{path} has format {record['format']}, this SABER reads {FORMAT} and {FORMAT_WITH_MODES}",
            hint="Use the release of SABER (saber-llm) that wrote it.",
        )
    if sealed(record) != record:
        raise EditError(f"{path} was changed after SABER wrote it", hint=_AGAIN)
    return dict(record)


def as_saved(edits: EditSet) -> EditSet:
    """The edit with its factors in memory order, as they come from a file: products then have the same bits."""
    plain = {
        edit.writer: replace(edit, **{part: getattr(edit, part).contiguous() for part in _PARTS})
        for edit in edits
    }
    return EditSet(plain, edits.base_sha256)


def load_undo(folder: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Undo records of an exported checkpoint by name, one a tensor that was edited.

    Raises:
        EditError: Missing, corrupt, or not of every tensor.
    """
    try:
        tensors, _ = read_tensors(folder / UNDO)
    except StoreError as error:
        raise EditError(error.message, hint=_AGAIN) from error
    missing = [name for name in names if name not in tensors]
    if missing:
        raise EditError(f"{folder / UNDO} has no record of {missing[0]}", hint=_AGAIN)
    return tensors


def certificates_of(record: Mapping[str, Any]) -> list[Certificate]:
    """Certificates in a record."""
    return [Certificate(**row) for row in record["certificates"]]


def _paths(path: Path) -> tuple[Path, Path]:
    if path.is_dir():
        run = RunFolder(path)
        if (path / RECORD).is_file():
            return path / RECORD, path / TENSORS
        return run.edit_record, run.edit_tensors
    return path.with_suffix(".json"), path.with_suffix(".safetensors")


def _row(edit: LowRankEdit) -> dict[str, Any]:
    row: dict[str, Any] = {"rank": edit.left.shape[1]}
    if edit.experts is not None:
        row["experts"] = list(edit.experts)
    if edit.mode != "M0":
        row["mode"] = edit.mode
    return row


def _edit(name: str, row: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LowRankEdit:
    # Copies: what is mapped from a file is aligned otherwise, which can change the last bit of a product.
    left, right, read, directions = (tensors[f"{name}.{part}"].clone() for part in _PARTS)
    experts = tuple(row["experts"]) if "experts" in row else None
    mode = row.get("mode", "M0")
    if mode not in get_args(InputMode):
        raise KeyError(f"{name} has the unknown mode {mode}")
    return LowRankEdit(name, left, right, read, directions, experts, mode)
