"""Broken checkpoints are refused with the names of the file and the tensor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from saber.errors import ExportError
from saber.export.checkpoint import export_checkpoint
from saber.export.shards import INDEX, places
from tests.export.exported import Base, leftovers

WRITER = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def broken(base: Callable[..., Base], tmp_path: Path) -> tuple[Base, Path]:
    """A sharded base, and a copy of its folder to break."""
    made = base("llama")
    return made, Path(shutil.copytree(made.folder, tmp_path / "broken"))


def refuse(broken: tuple[Base, Path], match: str) -> None:
    made, folder = broken
    with pytest.raises(ExportError, match=match):
        export_checkpoint(folder, made.edits, made.anatomy, folder.parent / "out")
    assert leftovers(folder.parent) == ["broken"]


def shard_of(folder: Path) -> Path:
    return folder / places(folder)[WRITER].file


def rewrite_header(path: Path, change: Callable[[dict], None]) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def test_a_shard_cut_short(broken: tuple[Base, Path]) -> None:
    shard = shard_of(broken[1])
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    refuse(broken, f"{shard.name} is cut short: tensor .* ends at byte")
    shard.write_bytes(whole[:20])
    refuse(broken, f"{shard.name} is cut short")
    shard.write_bytes(b"")
    refuse(broken, f"{shard.name} is cut short")


def test_a_shard_with_a_corrupt_header(broken: tuple[Base, Path]) -> None:
    shard = shard_of(broken[1])
    whole = shard.read_bytes()
    shard.write_bytes(whole[:8] + b"garbage!" + whole[16:])
    refuse(broken, f"{shard.name} has a corrupt header")


def test_a_missing_shard_and_a_missing_index(broken: tuple[Base, Path]) -> None:
    shard = shard_of(broken[1])
    shard.unlink()
    refuse(broken, f"{shard.name} is missing")
    (broken[1] / INDEX).unlink()
    refuse(broken, "has neither")


def test_an_index_that_leaves_out_a_writer(broken: tuple[Base, Path]) -> None:
    path = broken[1] / INDEX
    index = json.loads(path.read_text())
    del index["weight_map"][WRITER]
    path.write_text(json.dumps(index))
    refuse(broken, f"{WRITER} .* matches 0 tensors on disk; block 1 has .*o_proj")


def test_an_index_that_names_an_absent_tensor(broken: tuple[Base, Path]) -> None:
    path = broken[1] / INDEX
    index = json.loads(path.read_text())
    index["weight_map"]["model.ghost"] = shard_of(broken[1]).name
    path.write_text(json.dumps(index))
    refuse(broken, "tensor model.ghost is missing")


def test_an_invalid_index(broken: tuple[Base, Path]) -> None:
    for text in ("{", "[]", '{"weight_map": 3}', "{}"):
        (broken[1] / INDEX).write_text(text)
        refuse(broken, "is not a valid index")


def test_an_unknown_type(broken: tuple[Base, Path]) -> None:
    rewrite_header(shard_of(broken[1]), lambda header: header[WRITER].update(dtype="F8_E4M3"))
    refuse(broken, f"tensor {WRITER} has type F8_E4M3")


def test_a_type_that_does_not_fit_the_bytes(broken: tuple[Base, Path]) -> None:
    rewrite_header(shard_of(broken[1]), lambda header: header[WRITER].update(dtype="BF16"))
    refuse(broken, f"tensor {WRITER} is .* bytes long")
