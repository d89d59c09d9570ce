"""A writer is found on disk under older names and in other layouts, or the checkpoint is refused by name."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from saber.ablation.apply import digest, digest_of_parts
from saber.errors import ExportError
from saber.export.checkpoint import export_checkpoint
from saber.export.disk_names import writers_on_disk
from saber.export.shards import SINGLE, places, read_tensor
from saber.export.undo import undo
from saber.model.anatomy import DiskTensor, residual_first
from tests.export.exported import Base, contents, logits, reload

Tensors = dict[str, torch.Tensor]


def rewritten(made: Base, folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """A copy of a single-file base with other tensors in it."""
    shutil.copytree(made.folder, folder)
    tensors = {name: value.contiguous() for name, value in change(load_file(folder / SINGLE)).items()}
    save_file(tensors, folder / SINGLE, {"format": "pt"})
    return folder


@pytest.mark.parametrize("family", ["gpt_oss", "qwen3_moe", "gpt2"])
def test_hashes_of_the_disk_are_those_of_memory(family: str, base: Callable[..., Base]) -> None:
    made = base(family)
    for name, held in writers_on_disk(made.folder, places(made.folder), made.edits, made.anatomy).items():
        on_disk = digest_of_parts(held.values(lambda place: read_tensor(made.folder, place)))
        assert on_disk == digest(made.chat.model.get_parameter(name))


def test_names_without_the_model_s_prefix(base: Callable[..., Base], tmp_path: Path) -> None:
    """GPT-2's own checkpoint says `h.0.mlp.c_proj.weight`; its untied unembedding is found all the same."""
    made = base("gpt2", torch.bfloat16)
    folder = rewritten(
        made,
        tmp_path / "base",
        lambda t: {name.removeprefix("transformer."): value for name, value in t.items()},
    )
    report = export_checkpoint(folder, made.edits, made.anatomy, tmp_path / "out")
    assert report.tensors["transformer.h.1.mlp.c_proj.weight"] == "h.1.mlp.c_proj.weight"
    assert report.tensors["transformer.wte.weight"] == "wte.weight"
    plain = export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "plain")
    assert torch.equal(logits(reload(tmp_path / "out")), logits(reload(plain.folder)))
    undo(tmp_path / "out", tmp_path / "undone")
    assert contents(tmp_path / "undone") == contents(folder)


@pytest.mark.parametrize(("family", "ending"), [("gpt_oss", "down_proj"), ("qwen3_moe", "down_proj.weight")])
def test_experts_that_lie_the_other_way_round(
    family: str, ending: str, base: Callable[..., Base], tmp_path: Path
) -> None:
    """Some checkpoints hold the transpose of what the class saves, and transformers turns it on loading."""
    made = base(family, torch.bfloat16)
    folder = rewritten(
        made,
        tmp_path / "base",
        lambda t: {
            name: value.mT if "experts" in name and name.endswith(ending) else value
            for name, value in t.items()
        },
    )
    report = export_checkpoint(folder, made.edits, made.anatomy, tmp_path / "out")
    plain = load_file(
        export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "plain").folder / SINGLE
    )
    for name, value in load_file(tmp_path / "out" / SINGLE).items():
        assert value.shape == load_file(folder / SINGLE)[name].shape
        assert torch.equal(value if value.shape == plain[name].shape else value.mT, plain[name]), name
    assert max(row.wanted_left for row in report.certificates) < 0.41
    undo(tmp_path / "out", tmp_path / "undone")
    assert contents(tmp_path / "undone") == contents(folder)


def test_square_tensors_lie_as_the_class_says(base: Callable[..., Base]) -> None:
    made = base("llama")
    name = "model.layers.0.self_attn.o_proj.weight"
    turned = tuple(
        dataclasses.replace(w, disk=DiskTensor(w.name, 1)) if w.name == name else w
        for w in made.anatomy.writers
    )
    anatomy = dataclasses.replace(made.anatomy, writers=turned)
    held = writers_on_disk(made.folder, places(made.folder), made.edits, anatomy)[name]
    assert held.turned
    (value,) = held.values(lambda place: read_tensor(made.folder, place))
    assert torch.equal(value.T, made.chat.model.get_parameter(name))
    stored = residual_first(read_tensor(made.folder, held.places[0]), held.stored)
    assert torch.equal(stored, value)


def test_ambiguous_names_are_settled_by_content(base: Callable[..., Base], tmp_path: Path) -> None:
    """Two tensors on disk end like the writer: only the one with the writer's values is it."""
    made = base("qwen3_moe", torch.bfloat16)

    def change(tensors: Tensors) -> Tensors:
        moved = {f"text.{name}": value for name, value in tensors.items()}
        decoys = {f"draft.{name}": value + 1 for name, value in tensors.items()}
        return moved | decoys

    folder = rewritten(made, tmp_path / "base", change)
    with pytest.raises(ExportError, match="matches 2 tensors"):
        export_checkpoint(folder, made.edits, made.anatomy, tmp_path / "out")
    report = export_checkpoint(folder, made.edits, made.anatomy, tmp_path / "out", model=made.chat.model)
    writers = made.anatomy.named()
    saved = {name: writers[name].disk for name in made.edits.edits}
    assert report.tensors == {name: f"text.{disk.key}" for name, disk in saved.items() if disk}


def test_a_missing_expert_is_refused(base: Callable[..., Base], tmp_path: Path) -> None:
    made = base("qwen3_moe", torch.bfloat16)
    lost = "model.layers.1.mlp.experts.2.down_proj.weight"
    folder = rewritten(
        made, tmp_path / "base", lambda t: {name: value for name, value in t.items() if name != lost}
    )
    with pytest.raises(ExportError, match=r"experts\.down_proj .* matches 0 tensors .*experts\.0\.down_proj"):
        export_checkpoint(folder, made.edits, made.anatomy, tmp_path / "out")
