"""Rows of a prompt file: text, JSON lines, CSV or Parquet."""

import csv
import difflib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from saber.errors import PromptError


@dataclass(frozen=True)
class Row:
    """One row of a source and the words that tell a user where it is."""

    where: str
    """For example "line 12" or "row 3", counted from 1."""
    cells: Mapping[str, object]
    """Column name -> value."""


@dataclass(frozen=True)
class Table:
    """The rows of a source, before any column is chosen."""

    columns: tuple[str, ...]
    """Every column found, in order."""
    rows: tuple[Row, ...]
    """The rows, in order, blank lines left out."""


def read_file(path: Path) -> Table:
    """Read a prompt file by its suffix.

    Args:
        path: An existing file, see `require_file`.

    Returns:
        Its rows; a `.txt` has the one column `prompt`.

    Raises:
        PromptError: Unknown suffix, not UTF-8, or not valid in its format.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise PromptError(
            f"{path}: cannot read a '{path.suffix}' file as prompts.",
            hint=f"Use one of {', '.join(_READERS)} (save a .json list as .jsonl, one object a line).",
        )
    return reader(path)


def require_file(path: Path, spec: str) -> None:
    """Raise unless the file exists, with the nearest name as the hint.

    Raises:
        PromptError: The path is missing or a folder.
    """
    if path.is_file():
        return
    if path.is_dir():
        raise PromptError(
            f"{path} is a folder, not a prompt file.",
            hint=f"Name a file in it, or write hf:{path} to load the folder as a dataset.",
        )
    folder = path.parent
    if not folder.is_dir():
        hint = f"The folder {folder} does not exist either."
        if spec.count("/") == 1 and not path.suffix:
            hint = f"For a dataset on the Hugging Face Hub write hf:{spec}."
        raise PromptError(f"Prompt file not found: {spec}", hint=hint)
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in _READERS)
    nearest = difflib.get_close_matches(path.name, names, n=1, cutoff=0.0)
    hint = f"Did you mean {folder / nearest[0]}?" if nearest else f"{folder} holds no prompt file."
    raise PromptError(f"Prompt file not found: {spec}", hint=hint + " 'builtin' needs no file.")


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        PromptError: Not UTF-8, with the position of the first bad byte.
    """
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise PromptError(
            f"{path}: not UTF-8 (line {line}, byte 0x{raw[error.start]:02x}).",
            hint="Save the file as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW",
        ) from None


def _txt(path: Path) -> Table:
    # str.splitlines would also break at form feeds and Unicode separators inside a prompt.
    lines = ((number, line.strip()) for number, line in enumerate(io.StringIO(read_text(path)), start=1))
    rows = (Row(f"line {number}", {"prompt": line}) for number, line in lines if line and line[0] != "#")
    return Table(("prompt",), tuple(rows))


def _jsonl(path: Path) -> Table:
    rows: list[Row] = []
    columns: dict[str, None] = {}
    for number, line in enumerate(io.StringIO(read_text(path)), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except json.JSONDecodeError as error:
            raise PromptError(
                f"{path}: line {number} is not valid JSON ({error.msg}, column {error.colno}).",
                hint='Write one object a line, for example {"prompt": "..."}.',
            ) from None
        if not isinstance(cells, dict):
            raise PromptError(
                f"{path}: line {number} is a JSON {type(cells).__name__}, not an object.",
                hint='Write one object a line, for example {"prompt": "..."}.',
            )
        columns.update(dict.fromkeys(cells))
        rows.append(Row(f"line {number}", cells))
    return Table(tuple(columns), tuple(rows))


def _csv(path: Path) -> Table:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[Row] = []
    quote = "Quote cells that contain commas or line breaks, and double the quotes inside them."
    try:
        for number, cells in enumerate(reader, start=1):
            # DictReader files surplus cells under None: an unquoted comma would cut a prompt short.
            if None in cells:
                raise PromptError(f"{path}: row {number} has more cells than the header.", hint=quote)
            rows.append(Row(f"row {number}", cells))
    except csv.Error as error:
        raise PromptError(f"{path}: row {len(rows) + 1} is not valid CSV ({error}).", hint=quote) from None
    return Table(tuple(reader.fieldnames or ()), tuple(rows))


def _parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise PromptError(
            f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}).",
            hint="Write it again, for example with pandas.DataFrame.to_parquet, or use .jsonl.",
        ) from None
    rows = (Row(f"row {number}", cells) for number, cells in enumerate(table.to_pylist(), start=1))
    return Table(tuple(table.column_names), tuple(rows))


_READERS: Mapping[str, Callable[[Path], Table]] = {
    ".txt": _txt,
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
