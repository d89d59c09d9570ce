"""A tied embedding that is edited parts from the unembedding, which stays as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import saber.export.untie as untie_module
from saber.errors import ExportError
from saber.export.checkpoint import export_checkpoint
from saber.export.shards import INDEX, SINGLE, places
from saber.export.undo import undo
from saber.export.verify import verify
from tests.export.exported import Base, contents, edit_all, leftovers, logits, reload

BF16 = torch.bfloat16


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("llama_tied", "lm_head.weight"),
        ("gpt2", "lm_head.weight"),
        ("gemma3_mm", "language_model.lm_head.weight"),
        ("gemma4_mm", "lm_head.weight"),
        ("granitemoehybrid", "lm_head.weight"),
        ("lfm2_moe", "lm_head.weight"),
    ],
)
def test_the_unembedding_is_the_base_s(
    family: str, head: str, base: Callable[..., Base], checkpoint: Callable[..., Path]
) -> None:
    made, out = base(family), checkpoint(family)
    index = json.loads((out / INDEX).read_text())
    assert index["weight_map"][head] == "model-unembedding.safetensors"
    sizes = (place.stop - place.start for place in places(out).values())
    assert index["metadata"]["total_size"] == sum(sizes)
    config = json.loads((out / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    assert config.get("text_config", {}).get("tie_word_embeddings", False) is False
    model = reload(out).model
    assert torch.equal(model.get_output_embeddings().weight, made.chat.model.get_output_embeddings().weight)
    assert not torch.equal(model.get_input_embeddings().weight, model.get_output_embeddings().weight)


@pytest.mark.parametrize("dtype", [torch.float32, BF16])
def test_only_the_embedding_edited(dtype: torch.dtype, base: Callable[..., Base], tmp_path: Path) -> None:
    """Sharded and in a single file, which must become two: transformers prefers a `model.safetensors`."""
    made = base("llama_tied", dtype)
    name = made.anatomy.tied_embedding
    edits = edit_all(made.chat.model, made.anatomy, names=[name])
    export_checkpoint(made.folder, edits, made.anatomy, tmp_path / "out", base_name="x")
    assert (tmp_path / "out" / SINGLE).exists() is False
    again, edit = reload(tmp_path / "out"), edits.edits[name]
    table = made.chat.model.get_parameter(name)
    wanted = (table + (edit.left @ edit.right).T).to(dtype).float()
    assert torch.equal(again.model.get_input_embeddings().weight, wanted)
    model = made.chat.model
    model.lm_head.weight, model.model.embed_tokens.weight = table, torch.nn.Parameter(wanted)
    edited = logits(made.chat)
    model.model.embed_tokens.weight = table
    assert (logits(again) - edited).abs().max() <= 1e-5
    assert verify(tmp_path / "out", device="cpu").ok
    undo(tmp_path / "out", tmp_path / "base")
    assert contents(tmp_path / "base") == contents(made.folder)


def test_positions_alone_untie_nothing(base: Callable[..., Base], tmp_path: Path) -> None:
    made = base("gpt2", BF16)
    edits = edit_all(made.chat.model, made.anatomy, names=["transformer.wpe.weight"])
    export_checkpoint(made.folder, edits, made.anatomy, tmp_path / "out")
    assert (tmp_path / "out" / "config.json").read_bytes() == (made.folder / "config.json").read_bytes()
    assert (tmp_path / "out" / SINGLE).exists()


def test_a_copy_of_the_unembedding_on_disk_is_used(base: Callable[..., Base], tmp_path: Path) -> None:
    made = base("llama_tied", BF16)
    folder = Path(shutil.copytree(made.folder, tmp_path / "base"))
    tensors = load_file(folder / SINGLE)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / SINGLE, {"format": "pt"})
    export_checkpoint(folder, made.edits, made.anatomy, tmp_path / "out")
    plain = export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "plain").folder
    assert set(leftovers(plain)) - set(leftovers(tmp_path / "out")) == {
        INDEX,
        "model-body.safetensors",
        "model-unembedding.safetensors",
    }
    assert torch.equal(logits(reload(tmp_path / "out")), logits(reload(plain)))


def test_a_class_that_cannot_untie_is_refused(
    base: Callable[..., Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, other = base("llama_tied", BF16), reload(base("llama_tied", BF16).folder).model
    first, second = other.model.layers
    second.mlp.up_proj.weight = first.mlp.up_proj.weight  # as Zamba 2 shares whole blocks
    parted = base("llama", BF16).chat.model
    tied = made.chat.model
    for before, after, match in (
        (tied, tied, r"LlamaForCausalLM .* unties nothing"),
        (other, parted, r"unties model\.layers\.0\.mlp\.up_proj\.weight among"),
    ):
        models = iter((before, after))
        monkeypatch.setattr(untie_module, "skeleton", lambda *args, models=models: next(models))
        with pytest.raises(ExportError, match=match) as error:
            export_checkpoint(made.folder, made.edits, made.anatomy, tmp_path / "out")
        assert "ablation.writers" in error.value.hint
    assert leftovers(tmp_path) == []
