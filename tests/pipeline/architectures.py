"""`saber run` on a tiny random model of any architecture of the zoo, and how far its exports are from the edit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saber.cli.job import run_job
from saber.cli.releasing import export_job
from saber.config import ModelConfig
from saber.errors import ExportError
from saber.export.compare import LogitGap, compare_with_memory
from saber.export.edit_file import load_edit
from saber.export.undo import undo
from saber.export.verify import verify
from saber.model.examine import examine
from saber.model.load import load
from saber.settings import resolve
from saber.watch import Silent
from tests import tiny
from tests.zoo_folder import save, short_prompts

NAMED = (
    "llama",
    "qwen3",
    "qwen3_moe",
    "qwen3_5",
    "gpt_oss",
    "mixtral",
    "gemma2",
    "gemma3",
    "gemma4",
    "gemma4_moe",
    "gemma4_mm",
    "glm4",
    "olmo2",
    "deepseek_v3",
    "lfm2",
    "granitemoehybrid",
)
"""Families for which the whole job must hold."""
SETTINGS = (
    *tiny.SETTINGS,
    "prompts.test_share=0.3",
    "spectrum.significant_only=false",
    "spectrum.folds=3",
    "spectrum.global_top_k=2",
    "entanglement.measure=geometric",
    "ablation.strengths=uniform",  # every writer is edited
    "refinement.max_iterations=1",
    "refinement.line_search=0",
    "refinement.drift_budget=100",
    "refinement.degenerate_limit=1",
    "evaluation.max_new_tokens=4",
    "evaluation.signal_tokens=4",
)


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        edited: Writers that were edited.
        forms: How many there are of each form.
        checkpoint: The reloaded checkpoint against edits in place and hooks.
        adapter: Likewise; None where an adapter cannot carry the edit.
        refused: Why it cannot.
        undone: Whether undoing the checkpoint gave every byte of the base back.
        verified: Whether `saber verify` found nothing wrong.
    """

    edited: int
    forms: dict[str, int]
    checkpoint: LogitGap
    adapter: LogitGap | None
    refused: str
    undone: bool
    verified: bool


def run(name: str, work: Path, *assignments: str) -> Outcome:
    """Run, export both ways, reload, compare, verify and undo."""
    prompts = short_prompts(work / "prompts")
    base = save(name, work / "base", prompts=prompts)
    config, text = resolve(assignments=[*SETTINGS, *prompts, "model.device=cpu", *assignments])
    run_job(str(base), config, text, work / "run", resume=False, watch=Silent())
    edits, _ = load_edit(work / "run")
    chat = load(str(base), ModelConfig(device="cpu"))
    anatomy = examine(chat.model)
    asked = ["Name a colour.", "Why does it rain in spring?", "hi"]
    checkpoint = compare_with_memory(chat, anatomy, edits, work / "run" / "checkpoint", asked)
    adapter, refused = None, ""
    try:
        export_job(work / "run", work / "adapter", "adapter", lambda done, total: None)
        adapter = compare_with_memory(chat, anatomy, edits, work / "adapter", asked)
    except ExportError as error:
        refused = error.message
    undo(work / "run" / "checkpoint", work / "undone")
    forms = [anatomy.named()[edit.writer].form for edit in edits]
    return Outcome(
        edited=len(edits),
        forms={form: forms.count(form) for form in dict.fromkeys(forms)},
        checkpoint=checkpoint,
        adapter=adapter,
        refused=refused,
        undone=_bytes(base) == _bytes(work / "undone"),
        verified=verify(work / "run" / "checkpoint").ok,
    )


def _bytes(folder: Path) -> dict[str, Any]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
