"""Whether an exported folder is what its record says: hashes, values, certificate, and a reload."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from saber.ablation.apply import digest, edited_weight, writers_hash
from saber.ablation.edit import EditSet
from saber.config import ModelConfig
from saber.errors import ExportError, ModelError, SaberError
from saber.export.adapter import WEIGHTS, adapter_tensors
from saber.export.edit_file import RECORD, TENSORS, certificates_of, load_edit, load_undo
from saber.export.patch import CHUNK, measure, revert_patch
from saber.export.shards import Place, places, read_header, read_tensor
from saber.model.anatomy import examine
from saber.model.generate import batches, first_logits
from saber.model.load import ChatModel, load
from saber.provenance import sha256_file

_PROMPT = "Name a colour."
_TOLERANCE = 1e-4
"""Largest difference between a recorded and a measured share of a component."""
_EDITABLE = ("README.md", ".gitattributes")
"""Files that may be changed after the export: they change nothing that the model computes."""


@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Attributes:
        name: What was checked.
        ok: Passed; None where it could not be checked.
        detail: What was found.
    """

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True)
class VerifyReport:
    """All checks of an exported folder."""

    folder: Path
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """No check failed."""
        return all(check.ok is not False for check in self.checks)


def verify(folder: Path, *, device: str = "auto") -> VerifyReport:
    """Check an exported checkpoint or adapter against its record.

    Raises:
        EditError: The folder holds no readable record of an edit.
        ExportError: The edit there was not exported.
    """
    edits, record = load_edit(folder)
    if "export" not in record:
        raise ExportError(
            f"{folder} holds an edit, but no exported model",
            hint="Export it first: saber export RUN --out DIR.",
        )
    checks = [_checked("hashes", lambda: _hashes(folder, record))]
    if record["export"]["kind"] == "adapter":
        checks.append(_checked("tensors", lambda: _finite(folder, read_header(folder / WEIGHTS))))
        checks += _adapter_checks(folder, edits, record, device)
    else:
        checks.append(_checked("tensors", lambda: _finite(folder, places(folder))))
        checks.append(_checked("certificate", lambda: _certificate(folder, edits, record)))
        checks.append(_checked("reload", lambda: _reload(str(folder), device)))
    return VerifyReport(folder, tuple(checks))


def _checked(name: str, question: Callable[[], tuple[bool, str]]) -> Check:
    try:
        return Check(name, *question())
    except SaberError as error:
        return Check(name, False, error.message)


def _hashes(folder: Path, record: Mapping[str, Any]) -> tuple[bool, str]:
    recorded: dict[str, str] = {**record["export"]["files"], TENSORS: record["tensors_sha256"]}
    missing = [name for name in recorded if not (folder / name).is_file() and name not in _EDITABLE]
    present = {name: value for name, value in recorded.items() if (folder / name).is_file()}
    changed = [name for name, value in present.items() if sha256_file(folder / name) != value]
    wrong = [name for name in changed if name not in _EDITABLE]
    if missing or wrong:
        listed = [f"{name} is missing" for name in missing] + [f"{name} was changed" for name in wrong]
        return False, "; ".join(listed[:6])
    edited = f"; {', '.join(changed)} edited since" if changed else ""
    return True, f"{len(recorded)} files as recorded in {RECORD}{edited}"


def _finite(folder: Path, found: Mapping[str, Place]) -> tuple[bool, str]:
    values = 0
    for place in found.values():
        if not place.code.startswith(("F", "BF")):
            continue
        for part in read_tensor(folder, place).flatten().split(CHUNK):
            if not torch.isfinite(part).all():
                return False, f"{place.file}: {place.key} holds values that are not finite"
            values += part.numel()
    return True, f"{values} values in {len(found)} tensors are finite"


def _certificate(folder: Path, edits: EditSet, record: Mapping[str, Any]) -> tuple[bool, str]:
    """Measure again what is left of each direction, and that the undo record leads back to the base."""
    found = places(folder)
    export = record["export"]
    differences = load_undo(folder, edits)
    recorded = {row.writer: row.component_left for row in certificates_of(record)}
    worst = 0.0
    digests = {}
    for edit in edits:
        row = export["tensors"][edit.writer]
        edited, base = (read_tensor(folder, found[row["key"]]) for _ in range(2))
        revert_patch(base, edit, row["axis"], differences[edit.writer], chunk=export["chunk"])
        left = measure(base, edited, edit, row["axis"]).component_left
        if not abs(left - recorded[edit.writer]) <= _TOLERANCE:
            said = recorded[edit.writer]
            return False, f"{edit.writer}: {left:.4f} of a component is left, the certificate says {said:.4f}"
        worst = max(worst, left)
        digests[edit.writer] = digest(base)
    if writers_hash(digests) != export["base_writers_sha256"]:
        return False, "the undo record does not lead back to the base"
    return True, f"{len(edits)} writers; most left of a component: {worst:.2e}; undo leads back to the base"


def _reload(name: str, device: str) -> tuple[bool, str]:
    chat = load(name, ModelConfig(device=device))
    return _answers(chat, type(chat.model).__name__)


def _answers(chat: ChatModel, name: str) -> tuple[bool, str]:
    logits = first_logits(chat, next(batches(chat, [_PROMPT]))).float().cpu()
    del chat
    gc.collect()
    usable = bool(torch.isfinite(logits).any()) and not bool((logits.isnan() | logits.isposinf()).any())
    return usable, f"{name} loads with every tensor filled; its logits are {'' if usable else 'not '}finite"


def _adapter_checks(folder: Path, edits: EditSet, record: Mapping[str, Any], device: str) -> list[Check]:
    name, revision = str(record["meta"].get("base_name", "")), record["meta"].get("revision")
    if revision and "@" not in name and not Path(name).is_dir():
        name = f"{name}@{revision}"
    try:
        chat = load(name, ModelConfig(device=device))
    except ModelError as error:
        return [Check("base", None, f"base model not available: {error.message}")]
    return [
        _checked("base", lambda: _adapter_base(chat, edits)),
        _checked("certificate", lambda: _adapter_certificate(folder, chat, edits, record)),
        _checked("reload", lambda: _answers(with_adapter(chat, folder), "the base with its adapter")),
    ]


def _adapter_base(chat: ChatModel, edits: EditSet) -> tuple[bool, str]:
    anatomy = examine(chat.model)
    weights = {w.name: chat.model.get_parameter(w.name) for w in anatomy.writers if w.name in edits.edits}
    # The run may have loaded the base in another type than the one on disk.
    hashes = (
        writers_hash({name: digest(weight.to(dtype)) for name, weight in weights.items()})
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    )
    same = edits.base_sha256 in hashes
    return same, f"{chat.name} is {'' if same else 'not '}the base that the edit was made from"


def _adapter_certificate(
    folder: Path, chat: ChatModel, edits: EditSet, record: Mapping[str, Any]
) -> tuple[bool, str]:
    """The factors on disk are the edit's, and merging them leaves what the edit wants to leave."""
    anatomy = examine(chat.model)
    dtype: torch.dtype = getattr(torch, record["export"]["dtype"])
    found = read_header(folder / WEIGHTS)
    for key, wanted in adapter_tensors(edits, anatomy, dtype).items():
        if key not in found or not torch.equal(read_tensor(folder, found[key]), wanted):
            return False, f"{WEIGHTS}: {key} is not the edit's factor"
    axes = {writer.name: writer.axis for writer in anatomy.writers}
    shares = [_merged(chat, edit.writer, edits, axes[edit.writer]) for edit in edits]
    return True, f"{len(edits)} writers; most left of a component after merging: {max(shares):.2e}"


def _merged(chat: ChatModel, name: str, edits: EditSet, axis: int) -> float:
    weight = chat.model.get_parameter(name).detach().cpu()
    edit = edits.edits[name]
    return measure(weight, edited_weight(weight, edit, axis), edit, axis).component_left


def with_adapter(chat: ChatModel, folder: Path) -> ChatModel:
    """The chat model with a LoRA folder put on; its own weights are wrapped, not changed.

    Raises:
        ModelError: peft is not installed.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ModelError(
            "peft is not installed, so the adapter cannot be loaded", hint="pip install 'saber-llm[adapter]'"
        ) from error
    return replace(chat, model=PeftModel.from_pretrained(chat.model, folder).eval())
