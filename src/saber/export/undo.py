"""From an exported checkpoint back to its base, bit for bit."""

from __future__ import annotations

from pathlib import Path

from saber.errors import ExportError
from saber.export.checkpoint import copy_files, require_new
from saber.export.disk_names import held_by_record
from saber.export.edit_file import load_edit, load_undo
from saber.export.patch import revert_patch
from saber.export.shards import patching, places
from saber.files import replacing_folder
from saber.provenance import sha256_file


def undo(folder: Path, out: Path) -> None:
    """Rebuild the base model's folder from an exported checkpoint.

    Raises:
        ExportError: Not a checkpoint that SABER exported, or one that was changed since, so that some file
            would not have the base's sha256; `out` is not empty.
        EditError: The edit in the folder is corrupt.
    """
    require_new(out)
    edits, record = load_edit(folder)
    export = record.get("export", {})
    if export.get("kind") != "checkpoint":
        raise ExportError(
            f"{folder} is no exported checkpoint ({export.get('kind', 'only an edit')})",
            hint="An adapter or edit changes no weights: use its base model.",
        )
    sources = {name: folder / export["renamed"].get(name, name) for name in export["base_files"]}
    missing = [path.name for path in sources.values() if not path.is_file()]
    if missing:
        raise ExportError(f"{folder} lacks {', '.join(missing[:4])}", hint=_CHANGED)
    with replacing_folder(out) as partial:
        copy_files(sources, partial, {})
        held = held_by_record(edits, export, places(partial))
        pieces = [pair for edit in edits for pair in held[edit.writer].pieces(edit)]
        differences = load_undo(folder, (piece.name for _, piece in pieces))
        for place, piece in pieces:
            with patching(partial, place) as weight:
                revert_patch(weight, piece, differences[piece.name], chunk=export["chunk"])
        wrong = [name for name, value in export["base_files"].items() if sha256_file(partial / name) != value]
        if wrong:
            raise ExportError(
                f"{', '.join(wrong[:4])} would differ from the base model, so nothing was written",
                hint=_CHANGED,
            )


_CHANGED = "The exported folder was changed after the export; download the base model instead."
