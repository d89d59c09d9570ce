"""Whether an exported folder is what its record says: hashes, values, certificate, and a reload."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saber.ablation.apply import certify, digest, digest_of_parts, writers_hash
from saber.ablation.edit import Certificate, EditSet, LowRankEdit
from saber.config import ModelConfig
from saber.errors import ExportError, ModelError, SaberError
from saber.export.adapter import WEIGHTS, adapter_tensors, edited_writers, with_adapter
from saber.export.disk_names import Held, held_by_record
from saber.export.edit_file import RECORD, TENSORS, certificates_of, load_edit, load_undo
from saber.export.patch import CHUNK, Tally, measure, revert_patch
from saber.export.shards import Place, places, read_header, read_tensor
from saber.model.anatomy import Anatomy
from saber.model.examine import examine
from saber.model.generate import batches, first_logits
from saber.model.load import ChatModel, load
from saber.model.weights import read_weight
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
        if not place.editable:  # integers, or numbers of a quantised format
            continue
        # A base may hold infinite bounds (Gemma 4's clipped linears do); no weight with several values may.
        bound = len(place.shape) == 0
        for part in read_tensor(folder, place).flatten().split(CHUNK):
            if not (~part.isnan() if bound else part.isfinite()).all():
                return False, f"{place.file}: {place.key} holds values that are not finite"
            values += part.numel()
    return True, f"{values} values in {len(found)} tensors are finite"


def _certificate(folder: Path, edits: EditSet, record: Mapping[str, Any]) -> tuple[bool, str]:
    """Measure again what is left of each direction, and that the undo record leads back to the base."""
    held = held_by_record(edits, record["export"], places(folder))
    names = (piece.name for edit in edits for _, piece in held[edit.writer].pieces(edit))
    differences = load_undo(folder, names)
    recorded = {row.writer: row for row in certificates_of(record)}
    found = []
    digests = {}
    for edit in edits:
        tally = Tally(edit)
        base = _reverting(folder, held[edit.writer], edit, differences, record["export"]["chunk"], tally)
        digests[edit.writer] = digest_of_parts(held[edit.writer].values(base))
        own, said = tally.certificate(), recorded[edit.writer]
        left, wanted = own.component_left, said.component_left
        if not abs(left - wanted) <= _TOLERANCE:
            return (
                False,
                f"{edit.writer}: {left:.4f} of a component is left, the certificate says {wanted:.4f}",
            )
        if not abs(own.relative_norm - said.relative_norm) <= _TOLERANCE * said.relative_norm:
            change = f"{own.relative_norm:.4%} of its norm, the certificate says {said.relative_norm:.4%}"
            return False, f"{edit.writer} changes by {change}"
        found.append(own)
    if writers_hash(digests) != record["export"]["base_writers_sha256"]:
        return False, "the undo record does not lead back to the base"
    return True, f"{_summary(edits, found)}; undo leads back to the base"


def _summary(edits: EditSet, found: Sequence[Certificate]) -> str:
    """What certificates come to: in M0 what is left of a component, in other input-side modes how much changed."""
    standard = [row for row in found if edits.edits[row.writer].mode == "M0"]
    others = [row for row in found if edits.edits[row.writer].mode != "M0"]
    said = [f"{len(found)} writers"]
    if standard:
        said.append(f"most left of a component: {max(row.component_left for row in standard):.2e}")
    if others:
        modes = ", ".join(sorted({edits.edits[row.writer].mode for row in others}))
        most = max(row.relative_norm for row in others)
        said.append(
            f"{len(others)} read their inputs in {modes} and change by at most {most:.2e} of their norm"
        )
    return "; ".join(said)


def _reverting(
    folder: Path, held: Held, edit: LowRankEdit, undo: Mapping[str, Tensor], chunk: int, tally: Tally
) -> Callable[[Place], Tensor]:
    """Reads tensors of a writer as they were before the edit, and counts what the edit did."""
    pieces = dict(held.pieces(edit))

    def read(place: Place) -> Tensor:
        base = read_tensor(folder, place)
        piece = pieces.get(place)
        if piece is not None:
            revert_patch(base, piece, undo[piece.name], chunk=chunk)
            measure(base, read_tensor(folder, place), piece, tally, chunk=chunk)
        return base

    return read


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
    anatomy = examine(chat.model)
    return [
        _checked("base", lambda: _adapter_base(chat, anatomy, edits)),
        _checked("certificate", lambda: _adapter_certificate(folder, chat, anatomy, edits, record)),
        _checked("reload", lambda: _answers(with_adapter(chat, folder), "the base with its adapter")),
    ]


def _adapter_base(chat: ChatModel, anatomy: Anatomy, edits: EditSet) -> tuple[bool, str]:
    names = [writer.name for writer in edited_writers(edits, anatomy)]
    # The run may have loaded the base in another type than the one on disk.
    hashes = (
        writers_hash({name: digest(read_weight(chat.model, name).to(dtype)) for name in names})
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    )
    same = edits.base_sha256 in hashes
    return same, f"{chat.name} is {'' if same else 'not '}the base that the edit was made from"


def _adapter_certificate(
    folder: Path, chat: ChatModel, anatomy: Anatomy, edits: EditSet, record: Mapping[str, Any]
) -> tuple[bool, str]:
    """The factors on disk are the edit's, and merging them leaves what the edit wants to leave."""
    dtype: torch.dtype = getattr(torch, record["export"]["dtype"])
    found = read_header(folder / WEIGHTS)
    wanted = adapter_tensors(edits, anatomy, chat.model, dtype)
    for key, factor in wanted.items():
        if key not in found or not torch.equal(read_tensor(folder, found[key]), factor):
            return False, f"{WEIGHTS}: {key} is not the edit's factor"
    more = [key for key in found if key not in wanted]
    if more:
        return False, f"{WEIGHTS}: {more[0]} is not of the edit"
    return True, f"merged: {_summary(edits, certify(chat.model, anatomy, edits))}"
