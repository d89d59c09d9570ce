"""The edit as a PEFT LoRA: `B = left`, `A = right`, scaling 1, so the adapter is the edit exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from saber.ablation.edit import Certificate, EditSet
from saber.errors import EditError, ExportError, ModelError
from saber.export.carriers import Carrier, carriers, factors
from saber.export.checkpoint import require_new
from saber.export.edit_file import RECORD, TENSORS, save_edit
from saber.export.shards import read_header
from saber.files import replacing_folder
from saber.model.anatomy import Anatomy, Writer
from saber.model.load import ChatModel
from saber.provenance import sha256_file
from saber.store import write_json, write_tensors, write_text

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def export_adapter(
    edits: EditSet,
    anatomy: Anatomy,
    model: Any,
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
        model: The base model or its skeleton: the classes of its modules decide how PEFT wraps them.
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
        ExportError: `out` is not empty, the edit is empty, or a LoRA cannot carry one of the writers.
        EditError: The edit belongs to another architecture.
    """
    require_new(out)
    if not len(edits):
        raise ExportError(
            "the edit changes nothing, so there is no adapter to write", hint="Edit something first."
        )
    carried = carriers(edited_writers(edits, anatomy), model, anatomy)
    tensors = adapter_tensors(edits, anatomy, model, getattr(torch, dtype))
    with replacing_folder(out) as partial:
        write_json(partial / CONFIG, _config(edits, anatomy, carried, base_name, revision))
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


def adapter_tensors(edits: EditSet, anatomy: Anatomy, model: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """LoRA factors by PEFT's names, all of the edit's largest rank.

    Raises:
        EditError: A writer that the anatomy lacks.
        ExportError: A LoRA cannot carry one of the writers.
    """
    writers = {writer.name: writer for writer in edited_writers(edits, anatomy)}
    carried = carriers(writers.values(), model, anatomy)
    rank = common_rank(edits)
    tensors: dict[str, Tensor] = {}
    for edit in edits:
        tensors |= factors(edit, writers[edit.writer], carried[edit.writer], rank)
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def common_rank(edits: EditSet) -> int:
    """Largest rank of the edit."""
    return max(edit.left.shape[1] for edit in edits)


def edited_writers(edits: EditSet, anatomy: Anatomy) -> list[Writer]:
    """Writers that an edit changes.

    Raises:
        EditError: A writer that the anatomy lacks.
    """
    writers = anatomy.named()
    missing = [name for name in edits.edits if name not in writers]
    if missing:
        raise EditError(
            f"the edit changes {missing[0]}, which this model does not have",
            hint="Apply an edit only to the base model that it was made from.",
        )
    return [writers[name] for name in edits.edits]


def with_adapter(chat: ChatModel, folder: Path) -> ChatModel:
    """The chat model with a LoRA folder put on; its own weights are wrapped, not changed.

    Raises:
        ModelError: peft is not installed.
        ExportError: PEFT left out a part of the adapter.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ModelError(
            "peft is not installed, so the adapter cannot be loaded", hint="pip install 'saber-llm[adapter]'"
        ) from error
    model = PeftModel.from_pretrained(chat.model, folder).eval()
    wanted = sum(".lora_A" in name or ".lora_embedding_A" in name for name in read_header(folder / WEIGHTS))
    found = sum(
        "default" in getattr(module, factor, ())
        for module in model.modules()
        for factor in ("lora_A", "lora_embedding_A")
    )
    if found != wanted:  # PEFT itself only warns, or says nothing
        raise ExportError(
            f"PEFT put on {found} of the {wanted} parts of {folder}, so the model would be another one",
            hint="Use other versions of peft and transformers, or export a checkpoint (--export checkpoint).",
        )
    return replace(chat, model=model)


def _config(
    edits: EditSet, anatomy: Anatomy, carried: Mapping[str, Carrier], base_name: str, revision: str | None
) -> dict[str, Any]:
    rank = common_rank(edits)
    parameters = [name for name, carrier in carried.items() if carrier.target == "parameter"]
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
        "fan_in_fan_out": any(carrier.turned for carrier in carried.values()),
        "use_rslora": False,
        "target_modules": [w.module for w in edited_writers(edits, anatomy) if w.name not in parameters],
        "target_parameters": parameters or None,
    }
