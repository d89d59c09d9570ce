"""Verification finds what was changed after the export; undo and push refuse what does not verify."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saber.errors import EditError, ExportError
from saber.export.edit_file import RECORD, UNDO, sealed
from saber.export.hub import push
from saber.export.shards import places
from saber.export.undo import undo
from saber.export.verify import VerifyReport, verify
from saber.provenance import sha256_file
from saber.store import RunFolder, read_tensors, write_tensors
from tests.export.exported import leftovers


def failed(report: VerifyReport) -> list[str]:
    assert report.ok == (not any(check.ok is False for check in report.checks))
    return [check.name for check in report.checks if check.ok is False]


def flip(path: Path, offset: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= bit
    path.write_bytes(data)


def accept_hashes(folder: Path, *names: str) -> None:
    """Rewrite the record so that only the deeper checks can find a change."""
    record = json.loads((folder / RECORD).read_text())
    record["export"]["files"].update({name: sha256_file(folder / name) for name in names})
    (folder / RECORD).write_text(json.dumps(sealed(record)))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_mm", "qwen3_moe", "gpt_oss"])
def test_an_untouched_export_verifies(family: str, checkpoint: Callable[..., Path]) -> None:
    report = verify(checkpoint(family), device="cpu")
    assert [(check.name, check.ok) for check in report.checks] == [
        ("hashes", True),
        ("tensors", True),
        ("certificate", True),
        ("reload", True),
    ]


def test_a_flipped_byte_is_found_in_any_file(copied: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json", "LICENSE.txt", UNDO):
        data = (copied / name).read_bytes()
        flip(copied / name, -3)
        assert "hashes" in failed(verify(copied, device="cpu")), name
        (copied / name).write_bytes(data)
    assert failed(verify(copied, device="cpu")) == []
    record = (copied / RECORD).read_text()
    (copied / RECORD).write_text(record.replace('"rank": 2', '"rank": 3', 1))
    with pytest.raises(EditError, match="was changed"):
        verify(copied, device="cpu")


def test_a_missing_file_is_found_and_an_edited_card_is_allowed(copied: Path) -> None:
    (copied / "README.md").write_text("more words")
    (copied / ".gitattributes").write_text("from the Hub")
    report = verify(copied, device="cpu")
    assert report.ok
    assert "README.md edited since" in report.checks[0].detail
    (copied / "LICENSE.txt").unlink()
    report = verify(copied, device="cpu")
    assert failed(report) == ["hashes"]
    assert "LICENSE.txt is missing" in report.checks[0].detail


def test_a_changed_weight_is_found_even_with_a_matching_hash(copied: Path) -> None:
    place = places(copied)["model.layers.1.mlp.down_proj.weight"]
    flip(copied / place.file, place.start + 1, 0x40)
    accept_hashes(copied, place.file)
    assert failed(verify(copied, device="cpu"))[0] == "certificate"


def test_values_that_are_not_finite_are_found(copied: Path) -> None:
    tensors, metadata = read_tensors(copied / "model.safetensors")
    tensors["lm_head.weight"][3, 3] = torch.nan
    write_tensors(copied / "model.safetensors", tensors, metadata)
    accept_hashes(copied, "model.safetensors")
    report = verify(copied, device="cpu")
    assert failed(report) == ["tensors", "reload"]
    assert "lm_head.weight" in report.checks[1].detail


def test_a_checkpoint_that_lacks_a_tensor_does_not_reload(copied: Path) -> None:
    tensors, metadata = read_tensors(copied / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    write_tensors(copied / "model.safetensors", tensors, metadata)
    accept_hashes(copied, "model.safetensors")
    assert failed(verify(copied, device="cpu")) == ["reload"]


def test_a_corrupt_shard_fails_without_a_traceback(copied: Path) -> None:
    data = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(data[: len(data) // 2])
    assert failed(verify(copied, device="cpu")) == ["hashes", "tensors", "certificate", "reload"]


def test_a_folder_without_an_export_is_refused(tmp_path: Path, copied: Path) -> None:
    with pytest.raises(EditError, match="does not exist"):
        verify(tmp_path)
    record = json.loads((copied / RECORD).read_text())
    del record["export"]
    (copied / RECORD).write_text(json.dumps(sealed(record)))
    with pytest.raises(ExportError, match="no exported model"):
        verify(copied)
    with pytest.raises(ExportError, match="no exported checkpoint"):
        undo(copied, tmp_path / "base")


def test_undo_refuses_a_changed_folder(copied: Path, tmp_path: Path) -> None:
    (copied / "LICENSE.txt").write_text("another licence")
    with pytest.raises(ExportError, match=r"LICENSE\.txt would differ"):
        undo(copied, tmp_path / "base")
    (copied / "LICENSE.txt").unlink()
    with pytest.raises(ExportError, match="lacks"):
        undo(copied, tmp_path / "base")
    with pytest.raises(ExportError, match="not empty"):
        undo(copied, copied)
    assert leftovers(tmp_path) == ["copied"]


def test_undo_refuses_a_corrupt_undo_record(copied: Path, tmp_path: Path) -> None:
    whole, metadata = read_tensors(copied / UNDO)
    name = next(iter(whole))
    for broken, error, match in (
        (whole[name][:10], ExportError, "corrupt|does not fit"),
        (
            whole[next(n for n in whole if n.split(".")[-2] != name.split(".")[-2])],
            ExportError,
            "does not fit",
        ),
        (None, EditError, "no record of"),
    ):
        tensors = {n: t for n, t in whole.items() if n != name} | ({} if broken is None else {name: broken})
        write_tensors(copied / UNDO, tensors, metadata)
        with pytest.raises(error, match=match):
            undo(copied, tmp_path / "base")
    (copied / UNDO).unlink()
    with pytest.raises(EditError, match="does not exist"):
        undo(copied, tmp_path / "base")
    assert leftovers(tmp_path) == ["copied"]


def test_push_refuses(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no repository name"):
        push(copied, "just-a-name")
    flip(copied / "model.safetensors", -1)
    with pytest.raises(ExportError, match="does not verify"):
        push(copied, "org/name")
    (copied / "README.md").write_text(" \n")
    with pytest.raises(ExportError, match=r"no README\.md"):
        push(copied, "org/name")
    run = RunFolder.create(tmp_path / "run")
    run.card.write_text("# Card\n")
    with pytest.raises(ExportError, match="does not exist"):
        push(run.path, "org/name")


@pytest.mark.parametrize("public", [False, True])
def test_push_uploads_what_verifies(copied: Path, monkeypatch: pytest.MonkeyPatch, public: bool) -> None:
    import types

    import huggingface_hub

    calls: list[tuple[str, object]] = []

    class Api:
        def __init__(self, token: str | None) -> None:
            calls.append(("token", token))

        def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> str:
            calls.append((repo, private))
            return f"the address of {repo}"

        def repo_info(self, repo: str) -> object:
            return types.SimpleNamespace(private=not public)

        def upload_folder(self, **options: object) -> None:
            calls.append(("upload", options["folder_path"]))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    if public:
        with pytest.raises(ExportError, match="exists and is public"):
            push(copied, "org/name", token="t")
        assert calls[-1] == ("org/name", True)
        return
    assert push(copied, "org/name", token="t") == "the address of org/name"
    assert calls == [("token", "t"), ("org/name", True), ("upload", copied)]


def test_a_hub_that_refuses_says_so(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*args: object, **options: object) -> None:
        raise OSError("401 Client Error")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(ExportError, match="refused org/name: 401"):
        push(copied, "org/name")
