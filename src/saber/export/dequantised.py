"""An edited bf16 checkpoint from one that is quantised on disk, where few bits would not hold the edit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from saber.ablation.edit import EditSet
from saber.config import ModelConfig
from saber.errors import ExportError
from saber.export.checkpoint import (
    WEIGHT_FILES,
    CheckpointReport,
    export_checkpoint,
    require_new,
    require_space,
)
from saber.export.rebase import rebased
from saber.export.shards import files_of, places
from saber.files import replacing_folder
from saber.model.anatomy import Anatomy
from saber.model.generate import Progress
from saber.model.load import load, quiet, skeleton
from saber.model.locate import check_folder
from saber.model.quantised import format_on_disk
from saber.model.weights import held, read_weight
from saber.provenance import model_files

_INDEX = ".index.json"
_QUANTISED_CODES = ("F8", "F4", "U8", "I8", "F6")
_SHARD = "5GB"


def export_dequantised(
    folder: Path,
    edits: EditSet,
    anatomy: Anatomy,
    out: Path,
    *,
    config: ModelConfig | None = None,
    extra_files: Mapping[str, str] | None = None,
    base_name: str = "",
    revision: str | None = None,
    meta: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> CheckpointReport:
    """Write an edited bf16 copy of a checkpoint that is quantised on disk.

    The checkpoint is dequantised into a folder beside `out`, the edit is made anew from those weights, and the rest is
    `export_checkpoint`: the result has the same record, verifies in the same way, and `undo` leads back to the
    dequantised base. Needs twice the bf16 model on disk for the time.

    Args:
        folder: Folder of the quantised base model.
        edits: The edit, made from the quantised model, or from what transformers made of it.
        anatomy: Anatomy of the base model.
        out: New or empty folder.
        config: How the base may be loaded (its own code, for instance).
        extra_files: Text files to add, such as a model card.
        base_name: Name of the base model, for the record.
        revision: Its commit, for the record.
        meta: Settings, for the record.
        progress: Called after each file and each tensor.

    Raises:
        ExportError: The base is not quantised, `out` is not empty, or the disk is too small.
        EditError: The edit belongs to another base.
        ModelError: The base cannot be loaded.
    """
    require_new(out)
    parent = out.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.dequantised-", dir=parent) as beside:
        plain = Path(beside) / "base"
        format_ = dequantise_checkpoint(folder, plain, config=config)
        own, difference = rebased(plain, edits, anatomy)
        origin = {
            "format": format_,
            "files": model_files(folder),
            "edit_sha256": edits.sha256,
            "base_sha256": edits.base_sha256,
            "difference": difference,
        }
        return export_checkpoint(
            plain,
            own,
            anatomy,
            out,
            extra_files=extra_files,
            base_name=base_name,
            revision=revision,
            meta={**(meta or {}), "dequantised_from": origin},
            progress=progress,
        )


def dequantise_checkpoint(folder: Path, out: Path, *, config: ModelConfig | None = None) -> str:
    """Write a checkpoint again with plain bf16 weights; all files but weights and config stay as they are.

    Not by `save_pretrained` of the dequantised model: transformers 5.23 quantises FP8 models again while saving them,
    without saying so in the config, and the result loads as noise. The weights go into a model of the same class that
    was never quantised.

    Args:
        folder: A checkpoint that is quantised on disk.
        out: New or empty folder.
        config: How the checkpoint may be loaded.

    Returns:
        The format it was in.

    Raises:
        ExportError: It is not quantised, or the disk is too small.
        ModelError: It cannot be loaded.
    """
    settings = (config or ModelConfig()).model_copy(
        update={
            "quantise": "none",
            "dtype": "bfloat16",
            "device": "cpu",
            "offload": "refuse",
            "max_memory": (),
            "tensor_parallel": False,
        }
    )
    format_ = format_on_disk(check_folder(folder, str(folder), settings))
    if format_ == "none":
        raise ExportError(
            f"{folder} is not quantised, so there is nothing to dequantise",
            hint="Export a checkpoint: its files keep their types (--export checkpoint).",
        )
    plain = skeleton(folder, str(folder), settings)
    _check_space(plain, out)
    _fill(plain, load(str(folder), settings).model)
    with replacing_folder(out) as partial, quiet():
        plain.save_pretrained(partial, max_shard_size=_SHARD)
        for name, source in files_of(folder).items():
            if name == "config.json" or name.endswith((*WEIGHT_FILES, _INDEX)):
                continue
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, partial / name)
        _check_plain(partial)
    return format_


def _fill(plain: Any, model: Any) -> None:
    """Give a model without memory the weights of one that may hold them in any way."""
    values = {}
    for name, _ in plain.named_parameters():
        weight = read_weight(model, name)
        values[name] = weight if held(model, name) == "plain" else weight.to(torch.bfloat16)
    kept = plain.state_dict().keys()
    values |= {name: buffer for name, buffer in model.named_buffers() if name in kept}
    plain.load_state_dict(values, strict=False, assign=True)
    plain.tie_weights()
    for section in (plain.config, plain.config.get_text_config()):
        if getattr(section, "quantization_config", None) is not None:
            del section.quantization_config


def _check_space(plain: Any, out: Path) -> None:
    needed = 2 * 2 * sum(parameter.numel() for parameter in plain.parameters())
    require_space(out, needed, f"dequantising needs {needed / 1e9:.2f} GB for the time")


def _check_plain(folder: Path) -> None:
    """No tensor may still lie in a quantised format: without its config it would load as noise."""
    left = [place for place in places(folder).values() if place.code.startswith(_QUANTISED_CODES)]
    if left:
        raise ExportError(
            f"{len(left)} tensors are still quantised after dequantising, first {left[0].key} ({left[0].code})",
            hint="Report this model; use its unquantised (bf16) checkpoint.",
        )
