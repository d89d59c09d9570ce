"""Bases and their exports, made once a session; tests that change files work on copies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saber.ablation.edit import EditSet
from saber.export.adapter import export_adapter
from saber.export.checkpoint import export_checkpoint
from tests.export.exported import Base, for_adapter, make_base

Make = Callable[..., Base]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`base(family, dtype)`."""
    made: dict[tuple[str, torch.dtype], Base] = {}

    def make(family: str, dtype: torch.dtype = torch.float32) -> Base:
        if (family, dtype) not in made:
            made[family, dtype] = make_base(family, dtype, tmp_path_factory.mktemp(family) / "base")
        return made[family, dtype]

    return make


@pytest.fixture(scope="session")
def checkpoint(base: Make) -> Callable[..., Path]:
    """`checkpoint(family, dtype)`: the exported folder; do not change it."""

    def make(family: str, dtype: torch.dtype = torch.float32) -> Path:
        made = base(family, dtype)
        out = made.folder.parent / "checkpoint"
        if not out.exists():
            card = {"README.md": "# Edited\n"}
            export_checkpoint(
                made.folder, made.edits, made.anatomy, out, extra_files=card, base_name=str(made.folder)
            )
        return out

    return make


@pytest.fixture
def copied(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A small exported checkpoint to change at will."""
    return Path(shutil.copytree(checkpoint("llama", torch.bfloat16), tmp_path / "copied"))


@pytest.fixture(scope="session")
def adapter(base: Make) -> Callable[[str], tuple[Path, EditSet]]:
    """`adapter(family)`: an exported LoRA and its edit; do not change it."""
    made: dict[str, EditSet] = {}

    def make(family: str) -> tuple[Path, EditSet]:
        own = base(family)
        out = own.folder.parent / "adapter"
        if family not in made:
            made[family] = for_adapter(own)
            export_adapter(made[family], own.anatomy, own.chat.model, out, base_name=str(own.folder))
        return out, made[family]

    return make
