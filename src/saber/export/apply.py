"""A saved edit onto its base, without loading the base's weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saber.config import ModelConfig
from saber.export.checkpoint import CheckpointReport, export_checkpoint, require_new
from saber.export.edit_file import load_edit
from saber.model.anatomy import Anatomy
from saber.model.examine import examine
from saber.model.generate import Progress
from saber.model.load import skeleton


def apply_edit(
    edit: Path,
    folder: Path,
    out: Path,
    *,
    extra_files: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> CheckpointReport:
    """Export a checkpoint from a base model's folder and a saved edit.

    Args:
        edit: A run folder, an exported folder, or one of an edit's two files.
        folder: Folder of the base model.
        out: New or empty folder.
        extra_files: Text files to add.
        progress: Called after each step.

    Raises:
        EditError: The edit is corrupt, belongs to another base, or has been applied already.
        ExportError: See `export_checkpoint`.
    """
    require_new(out)
    edits, record = load_edit(edit)
    _, anatomy = base_of(folder)
    meta = dict(record["meta"])
    name, revision = str(meta.pop("base_name", "")), meta.pop("revision", None)
    return export_checkpoint(
        folder,
        edits,
        anatomy,
        out,
        extra_files=extra_files,
        base_name=name,
        revision=revision,
        meta=meta,
        progress=progress,
    )


def base_of(folder: Path) -> tuple[Any, Anatomy]:
    """Skeleton and anatomy of a checkpoint from its config alone: the model is built without memory for weights.

    Raises:
        ModelError: transformers cannot build the model.
        AnatomyError: The architecture is not understood.
    """
    model = skeleton(folder, str(folder), ModelConfig())
    return model, examine(model)
