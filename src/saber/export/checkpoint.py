"""An edited checkpoint: the original folder, file by file, with only the edited tensors' bytes changed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from saber.ablation.edit import Certificate, EditSet
from saber.errors import ExportError
from saber.export.disk_names import check_disk_base, writers_on_disk
from saber.export.edit_file import RECORD, TENSORS, UNDO, save_edit
from saber.export.patch import CHUNK, apply_patch
from saber.export.shards import Place, files_of, patching, places
from saber.files import replacing_folder
from saber.model.anatomy import Anatomy
from saber.model.generate import Progress
from saber.provenance import sha256_file
from saber.store import write_tensors, write_text

_CARD = "README.md"
_OURS = (RECORD, TENSORS, UNDO)
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack")


@dataclass(frozen=True)
class CheckpointReport:
    """What was written.

    Attributes:
        folder: The exported folder.
        edit_sha256: Hash of the edit.
        certificates: Of every edited writer, measured on the values as they lie on disk.
        files: sha256 of every file but the record.
        tensors: Name on disk of every edited writer.
        unedited_weights: Weight files that transformers does not load: copied, but they still hold the base.
    """

    folder: Path
    edit_sha256: str
    certificates: tuple[Certificate, ...]
    files: dict[str, str]
    tensors: dict[str, str]
    unedited_weights: tuple[str, ...]


def export_checkpoint(
    chat_folder: Path,
    edits: EditSet,
    anatomy: Anatomy,
    out: Path,
    *,
    extra_files: Mapping[str, str] | None = None,
    base_name: str = "",
    revision: str | None = None,
    meta: Mapping[str, Any] | None = None,
    model: nn.Module | None = None,
    progress: Progress | None = None,
) -> CheckpointReport:
    """Write an edited copy of a checkpoint folder.

    Works from the files on disk, never from the model in memory: every file is kept, with the same types,
    shards and headers; edited tensors are `round(fp32(W) + left @ right)`, all other bytes stay.
    The folder appears whole or not at all.

    Args:
        chat_folder: Folder of the base model.
        edits: The edit.
        anatomy: Anatomy of the base model.
        out: New or empty folder.
        extra_files: Text files to add; a README.md replaces the base's, which is kept as README.base.md.
        base_name: Name of the base model, for the record.
        revision: Its commit, for the record.
        meta: Settings, for the record.
        model: The base in memory: only needed where names on disk are ambiguous.
        progress: Called after each file and each tensor.

    Raises:
        ExportError: `out` is not empty, too little space, or a base folder that is corrupt or not understood.
        EditError: The edit belongs to another base, or has been applied already.
        StoreError: The disk ran full.
    """
    extra = dict(extra_files or {})
    require_new(out)
    found = writers_on_disk(chat_folder, places(chat_folder), edits, anatomy, model=model)
    base_writers = check_disk_base(chat_folder, found, edits)
    sources = files_of(chat_folder)
    renamed = _renamed(sources, extra)
    _check_space(sources, found, out)
    plan = _Plan(sources, found, renamed, extra, anatomy)
    with replacing_folder(out) as partial:
        certificates, export = _write(partial, edits, plan, _Steps(len(sources) + len(found), progress))
        export["base_writers_sha256"] = base_writers
        about = {"base_name": base_name, "revision": revision, **(meta or {})}
        save_edit(partial / TENSORS, partial / RECORD, edits, certificates, about, export=export)
    names = {writer: place.key for writer, place in found.items()}
    unedited = tuple(export["unedited_weights"])
    return CheckpointReport(out, edits.sha256, tuple(certificates), export["files"], names, unedited)


@dataclass(frozen=True)
class _Plan:
    """What goes where: files of the base, tensors to edit, files that move aside, files to add."""

    sources: dict[str, Path]
    found: dict[str, Place]
    renamed: dict[str, str]
    extra: dict[str, str]
    anatomy: Anatomy


def _write(
    partial: Path, edits: EditSet, plan: _Plan, step: _Steps
) -> tuple[list[Certificate], dict[str, Any]]:
    """Copy, patch, add; returns the certificates and the record's section about this export."""
    base_files = copy_files(plan.sources, partial, plan.renamed, step)
    files = {plan.renamed.get(name, name): value for name, value in base_files.items()}
    certificates, undo = _patch_all(partial, plan, edits, step)
    for name, text in plan.extra.items():
        write_text(partial / name, text)
    write_tensors(partial / UNDO, undo, {"format": "pt", "edit_sha256": edits.sha256})
    shards = {place.file for place in plan.found.values()}
    files |= {name: sha256_file(partial / name) for name in (*sorted(shards), UNDO, *plan.extra)}
    axes = _axes(plan.anatomy)
    return certificates, {
        "kind": "checkpoint",
        "base_files": base_files,
        "files": files,
        "renamed": plan.renamed,
        "added": sorted(plan.extra),
        "tensors": {
            name: {"key": place.key, "file": place.file, "dtype": place.code, "axis": axes[name]}
            for name, place in plan.found.items()
        },
        "chunk": CHUNK,
        "unedited_weights": _unedited(plan.sources, {place.file for place in places(partial).values()}),
    }


def require_new(out: Path) -> None:
    """Refuse to write over anything.

    Raises:
        ExportError: `out` is a file or a folder that is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(
            f"{out} is there already and not empty; nothing was changed",
            hint="Give a new or empty folder with --out.",
        )


class _Steps:
    """Counts steps for a progress display."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def __call__(self) -> None:
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)


def copy_files(
    sources: Mapping[str, Path], target: Path, renamed: Mapping[str, str], step: _Steps | None = None
) -> dict[str, str]:
    """Copy files (never link: users edit them) and return their sha256 by original name."""
    hashes = {}
    for name, source in sources.items():
        copy = target / renamed.get(name, name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        hashes[name] = sha256_file(source)
        if step:
            step()
    return hashes


def _patch_all(
    partial: Path, plan: _Plan, edits: EditSet, step: _Steps
) -> tuple[list[Certificate], dict[str, Tensor]]:
    axes = _axes(plan.anatomy)
    certificates, undo = [], {}
    for edit in edits:
        with patching(partial, plan.found[edit.writer]) as weight:
            patch = apply_patch(weight, edit, axes[edit.writer], chunk=CHUNK)
        certificates.append(patch.certificate)
        undo[edit.writer] = patch.undo
        step()
    return certificates, undo


def _axes(anatomy: Anatomy) -> dict[str, int]:
    return {writer.name: writer.axis for writer in anatomy.writers}


def _renamed(sources: Mapping[str, Path], extra: Mapping[str, str]) -> dict[str, str]:
    """Files of the base whose names SABER's own files take: kept as `name.base.suffix`."""
    renamed = {}
    for name in (*extra, *_OURS):
        if name not in sources:
            continue
        stem, _, suffix = name.rpartition(".")
        kept = f"{stem}.base.{suffix}"
        if name not in (_CARD, *_OURS) or kept in sources:
            raise ExportError(
                f"{name} would replace a file of the base model that cannot be kept as {kept}",
                hint="Undo earlier edits first (`saber undo`), or give the extra file another name.",
            )
        renamed[name] = kept
    return renamed


def _unedited(sources: Mapping[str, Path], loaded: set[str]) -> list[str]:
    return [name for name in sources if name.endswith(_WEIGHTS) and name not in loaded and name not in _OURS]


def _check_space(sources: Mapping[str, Path], found: Mapping[str, Place], out: Path) -> None:
    """The copy, plus the undo record: at most about a quarter of the edited tensors."""
    touched = sum(place.stop - place.start for place in found.values())
    needed = sum(path.stat().st_size for path in sources.values()) + touched // 4 + (1 << 20)
    parent = next(path for path in out.absolute().parents if path.is_dir())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise ExportError(
            f"the export needs {needed / 1e9:.2f} GB, the disk of {parent} has {free / 1e9:.2f} GB free",
            hint="Free space, write elsewhere with --out, or export the edit only (--export adapter).",
        )
