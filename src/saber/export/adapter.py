"""The edit as a PEFT LoRA: `B = left`, `A = right`, scaling 1, so the adapter is the edit exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from saber.ablation.edit import Certificate, EditSet, LowRankEdit
from saber.errors import EditError, ExportError
from saber.export.checkpoint import require_new
from saber.export.edit_file import RECORD, TENSORS, save_edit
from saber.files import replacing_folder
from saber.model.anatomy import Anatomy, Writer
from saber.provenance import sha256_file
from saber.store import write_json, write_tensors, write_text

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def export_adapter(
    edits: EditSet,
    anatomy: Anatomy,
    out: Path,
    *,
    base_name: str,
    revision: str | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    certificates: Sequence[Certificate] = (),
    extra_files: Mapping[str, str] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Write the edit as a LoRA folder for `peft.PeftModel.from_pretrained`.

    Writers of lower rank are padded with zeros to one common rank: not every server reads rank patterns.
    Modules are given by their full names: suffixes would hit the towers of multimodal models.

    Args:
        edits: The edit.
        anatomy: Anatomy of its base model.
        out: New or empty folder.
        base_name: Hub id or folder of the base model, where PEFT looks for it.
        revision: Its commit.
        dtype: Type of the factors; narrower ones are no longer the edit exactly.
        certificates: For the record.
        extra_files: Text files to add, such as README.md.
        meta: Settings, for the record.

    Returns:
        The folder.

    Raises:
        ExportError: `out` is not empty, the edit is empty, or a writer's layout cannot be a LoRA.
        EditError: The edit belongs to another architecture.
    """
    require_new(out)
    if not len(edits):
        raise ExportError(
            "the edit changes nothing, so there is no adapter to write", hint="Edit something first."
        )
    tensors = adapter_tensors(edits, anatomy, getattr(torch, dtype))
    with replacing_folder(out) as partial:
        write_json(partial / CONFIG, _config(edits, anatomy, base_name, revision))
        write_tensors(partial / WEIGHTS, tensors, {"format": "pt"})
        for name, text in (extra_files or {}).items():
            write_text(partial / name, text)
        names = (CONFIG, WEIGHTS, *(extra_files or {}))
        save_edit(
            partial / TENSORS,
            partial / RECORD,
            edits,
            certificates,
            {"base_name": base_name, "revision": revision, **(meta or {})},
            export={
                "kind": "adapter",
                "dtype": dtype,
                "files": {name: sha256_file(partial / name) for name in names},
            },
        )
    return out


def adapter_tensors(edits: EditSet, anatomy: Anatomy, dtype: torch.dtype) -> dict[str, Tensor]:
    """LoRA factors by PEFT's names, all of the edit's largest rank.

    Raises:
        EditError: A writer that the anatomy lacks.
        ExportError: A writer whose parameter is not (d_model, d_in) or (experts, d_model, d_in).
    """
    rank = common_rank(edits)
    tensors = {}
    for edit in edits:
        writer = _writer(edit, anatomy)
        right = pad(edit.right, (0, 0, 0, rank - edit.right.shape[-2]))
        left = pad(edit.left, (0, rank - edit.left.shape[1]))
        if right.ndim == 3:  # PEFT: A is (experts * r, d_in), B (d_model, r * experts) with the expert last
            left = left[:, :, None].expand(-1, -1, right.shape[0]).reshape(left.shape[0], -1)
            right = right.reshape(-1, right.shape[-1])
        tensors[f"base_model.model.{writer.module}.lora_A.weight"] = right.to(dtype)
        tensors[f"base_model.model.{writer.module}.lora_B.weight"] = left.to(dtype)
    return tensors


def common_rank(edits: EditSet) -> int:
    """Largest rank of the edit."""
    return max(edit.left.shape[1] for edit in edits)


def _writer(edit: LowRankEdit, anatomy: Anatomy) -> Writer:
    writer = next((writer for writer in anatomy.writers if writer.name == edit.writer), None)
    if writer is None:
        raise EditError(
            f"the edit changes {edit.writer}, which this model does not have",
            hint="Apply an edit only to the base model that it was made from.",
        )
    if writer.axis != len(writer.shape) - 2:
        raise ExportError(
            f"{writer.name} {list(writer.shape)} has d_model last, which this adapter format does not cover",
            hint="Export a checkpoint instead (--format checkpoint).",
        )
    return writer


def _config(edits: EditSet, anatomy: Anatomy, base_name: str, revision: str | None) -> dict[str, Any]:
    writers = [_writer(edit, anatomy) for edit in edits]
    rank = common_rank(edits)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name if Path(base_name).is_dir() else base_name.partition("@")[0],
        "revision": revision,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "target_modules": [writer.module for writer in writers if len(writer.shape) == 2],
        "target_parameters": [writer.name for writer in writers if len(writer.shape) == 3] or None,
    }
