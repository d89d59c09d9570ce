"""The files of a run folder that a report is written from; a missing one is named."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saber.errors import ReportError
from saber.report.record import INCOMPLETE
from saber.store import RunFolder, read_json


def read_files(paths: Mapping[str, Path], hint: str = INCOMPLETE) -> dict[str, Any]:
    """The JSON of files that must all be there, by their names.

    Raises:
        ReportError: A file is missing.
        StoreError: A file is not valid JSON.
    """
    for path in paths.values():
        if not path.is_file():
            raise ReportError(f"No report without its evidence: {path} does not exist.", hint=hint)
    return {name: read_json(path) for name, path in paths.items()}


def read_settings(folder: RunFolder, hint: str = INCOMPLETE) -> dict[str, Any]:
    """The resolved settings.

    Raises:
        ReportError: The file is missing or is not valid TOML.
    """
    path = folder.resolved_toml
    if not path.is_file():
        raise ReportError(f"No report without its evidence: {path} does not exist.", hint=hint)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ReportError(f"{path} is not valid TOML ({error}).", hint=hint) from None
