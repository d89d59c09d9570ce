"""Whatever stops an export leaves nothing behind, and nothing of the base or of the user is replaced."""

from __future__ import annotations

import dataclasses
import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import saber.export.checkpoint as checkpoint_module
from saber.ablation.edit import EditSet
from saber.errors import ExportError, StoreError
from saber.export.checkpoint import export_checkpoint
from tests.export.exported import Base, leftovers

BF16 = torch.bfloat16
Base_ = Callable[..., Base]


def test_a_folder_that_is_not_empty_is_refused(base: Base_, tmp_path: Path) -> None:
    made = base("llama")
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ExportError, match="not empty"):
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path)
    with pytest.raises(ExportError, match="not empty"):
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "empty")
    assert leftovers(tmp_path) == ["empty", "mine"]


def test_an_extra_file_never_replaces_a_file_of_the_base(base: Base_, tmp_path: Path) -> None:
    made = base("llama")
    with pytest.raises(ExportError, match=r"config\.json would replace"):
        export_checkpoint(
            made.folder, made.edits, made.anatomy, tmp_path / "out", extra_files={"config.json": "{}"}
        )


def test_weights_that_stay_unedited_are_named(base: Base_, tmp_path: Path) -> None:
    made = base("llama", BF16)
    folder = shutil.copytree(made.folder, tmp_path / "base")
    shutil.copyfile(folder / "model.safetensors", folder / "consolidated.safetensors")
    report = export_checkpoint(folder, made.edits, made.anatomy, tmp_path / "out")
    assert report.unedited_weights == ("consolidated.safetensors",)


def test_a_full_disk_is_seen_before_anything_is_written(
    base: Base_, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = base("llama")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ExportError, match="free"):
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "out")
    assert leftovers(tmp_path) == []


def _stopping(stop: BaseException, after: int) -> Callable[..., Any]:
    calls: Iterator[int] = iter(range(1000))

    def copyfile(source: Path, target: Path) -> None:
        if next(calls) >= after:
            raise stop
        Path(target).write_bytes(Path(source).read_bytes())

    return copyfile


@pytest.mark.parametrize(
    ("stop", "seen"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StoreError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_whatever_stops_an_export_leaves_nothing_behind(
    stop: BaseException,
    seen: type[BaseException],
    base: Base_,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = base("llama")
    monkeypatch.setattr(shutil, "copyfile", _stopping(stop, 3))
    with pytest.raises(seen):
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "out")
    assert leftovers(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(
        checkpoint_module, "apply_patch", lambda *args, **options: (_ for _ in ()).throw(stop)
    )
    with pytest.raises(seen):
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "out")
    assert leftovers(tmp_path) == []


def test_an_edit_that_overflows_is_refused(base: Base_, tmp_path: Path) -> None:
    made = base("llama")
    huge = {
        name: dataclasses.replace(edit, left=edit.left * 1e38, right=edit.right * 1e38)
        for name, edit in made.edits.edits.items()
    }
    with pytest.raises(ExportError, match="do not fit"):
        export_checkpoint(made.folder, EditSet(huge, made.edits.base_sha256), made.anatomy, tmp_path / "out")
    assert leftovers(tmp_path) == []
