"""Every writer gets its own reader, from the base's inputs; a planted difference is read, noise is not trusted."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from saber.ablation.apply import applied, certify
from saber.ablation.compiler import Compiler
from saber.ablation.edit import EditSet
from saber.ablation.plan import EditPlan, PlannedVector
from saber.cli.job import run_job
from saber.config import ModelConfig, RunConfig
from saber.errors import ProbeError
from saber.export.edit_file import load_edit
from saber.export.verify import verify
from saber.model.anatomy import Anatomy
from saber.model.examine import examine
from saber.model.generate import Answer, batches, first_logits
from saber.model.load import ChatModel, load
from saber.pipeline import reading as module
from saber.pipeline.reading import Asked, Reading, reading
from saber.probe.capture import capture
from saber.prompts.prompt import Prompt, Role
from saber.settings import resolve
from saber.spectrum.direction import Direction
from saber.store import read_json
from saber.watch import Silent
from tests import tiny

ROLES: tuple[Role, ...] = ("harmful", "harmless", "capability", "preserve")


@dataclass
class Heard:
    """What is said during a run."""

    notes: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, title: str) -> Any:
        """Count the steps."""
        seen: list[tuple[int, int]] = []
        yield lambda done, total: seen.append((done, total))
        assert [done for done, _ in seen] == list(range(1, seen[0][1] + 1))
        self.stages.append(title)

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)

    def warn(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


def drawn(n: int, role: Role, seed: int, planted: bool) -> list[Prompt]:
    """Words of random letters; planted harmful ones are in capitals."""
    g = torch.Generator().manual_seed(seed)
    letters = string.ascii_uppercase if planted and role == "harmful" else string.ascii_lowercase
    rows = torch.randint(26, (n, 12), generator=g).tolist()
    return [Prompt("".join(letters[i] for i in row), role) for row in rows]


def roles(planted: bool, seed: int = 0, n: int = 32) -> dict[Role, Asked]:
    return {role: Asked(drawn(n, role, 10 * seed + i, planted)) for i, role in enumerate(ROLES)}


def config(mode: str, **ablation: Any) -> RunConfig:
    return RunConfig.model_validate({"ablation": {"input_mode": mode, **ablation}})


@pytest.fixture(scope="module")
def llama(checkpoints: Mapping[str, Path]) -> tuple[ChatModel, Anatomy]:
    chat = load(str(checkpoints["llama"]), ModelConfig(device="cpu"))
    return chat, examine(chat.model)


def plan_of(chat: ChatModel, anatomy: Anatomy, asked: Mapping[Role, Asked]) -> EditPlan:
    """Full strength of the mean difference at the last block, in every writer but embeddings."""
    seen = {
        role: capture(chat, anatomy, asked[role].prompts, position="last").values[:, -1]
        for role in ("harmful", "harmless")
    }
    vector = torch.nn.functional.normalize(seen["harmful"].mean(0) - seen["harmless"].mean(0), dim=0).float()
    direction = Direction(0, 0, vector, vector, 1.0, 1.0, 0.0, 1.0)
    planned = PlannedVector(direction, "whole", vector, 1.0, 0, 0.0, 1.0)
    kinds = ("attention", "mlp", "experts", "per_layer", "bias", "other", "mixer")
    return EditPlan((planned,), (), "all", (), anatomy.n_layers, kinds, "ridge", 0.03)


def compiled(
    chat: ChatModel,
    anatomy: Anatomy,
    mode: str,
    asked: Mapping[Role, Asked],
    read_from: Mapping[Role, Asked] | None = None,
) -> tuple[EditSet, Reading]:
    """An edit in a mode, and the reader behind it; directions and inputs are those of the same prompts."""
    reader = Reading(chat, anatomy, config(mode), lambda: read_from or asked, Silent())
    plan = plan_of(chat, anatomy, asked)
    return Compiler(chat.model, anatomy, reader=reader).compile(plan), reader


def moved(chat: ChatModel, anatomy: Anatomy, edits: EditSet, prompts: Sequence[Prompt]) -> float:
    """Root mean square of what an edit does to the first token's logits."""

    def logits() -> Tensor:
        made = batches(chat, [prompt.text for prompt in prompts])
        return torch.cat([first_logits(chat, batch).float() for batch in made])

    base = logits()
    with applied(chat.model, anatomy, edits):
        changed = logits()
    assert torch.equal(logits(), base)
    return float((changed - base).square().mean().sqrt())


def test_the_mean_shift_moves_harmful_prompts_and_leaves_preserved_ones_nearly_alone(
    llama: tuple[ChatModel, Anatomy],
) -> None:
    asked, unseen = roles(planted=True), roles(planted=True, seed=7)
    found = {}
    for mode in ("M0", "M3"):
        edits, _ = compiled(*llama, mode, asked)
        found[mode] = {role: moved(*llama, edits, unseen[role].prompts) for role in ROLES}
    share = {role: found["M3"][role] / found["M0"][role] for role in ROLES}
    # Measured with 32 prompts a role: 1.27 of what M0 moves on harmful prompts, 0.11 to 0.14 on the others.
    assert share["harmful"] >= 0.5
    assert max(share[role] for role in ROLES[1:]) <= share["harmful"] / 3


def test_auto_trusts_what_is_planted_and_not_noise(llama: tuple[ChatModel, Anatomy]) -> None:
    edits, planted = compiled(*llama, "auto", roles(planted=True))
    assert planted.record()["counts"] == {"M3": 8}
    assert {edit.mode for edit in edits} == {"M3"}
    assert planted.record()["auroc"]["least"] >= 0.95
    edits, noise = compiled(*llama, "auto", roles(planted=False))
    standard, _ = compiled(*llama, "M0", roles(planted=False))
    assert noise.record()["counts"] == {"M0": 8}
    assert 0.2 < noise.record()["auroc"]["median"] < 0.7  # the least of three roles
    assert edits.sha256 == standard.sha256
    assert {edit.mode for edit in edits} == {"M0"}


def test_tokens_of_answers_do_not_make_roles_look_separable(llama: tuple[ChatModel, Anatomy]) -> None:
    """Only preserved roles are read in answers; told from the template by their place, they say nothing of harm."""
    bare = roles(planted=False, n=16)
    answers = [Answer("", tuple(range(40 + i, 48 + i)), False) for i in range(16)]
    answered = {role: Asked(bare[role].prompts, None if role == "harmful" else answers) for role in ROLES}
    found = [compiled(*llama, "auto", bare, read_from=asked)[1].reads for asked in (bare, answered)]
    assert len(found[0]) == 8
    for name, read in found[0].items():
        assert found[1][name].auroc == pytest.approx(read.auroc, abs=0.01)


@pytest.mark.parametrize("mode", ["M1", "M2", "M3"])
def test_a_named_mode_is_taken_whatever_the_auroc_says(llama: tuple[ChatModel, Anatomy], mode: str) -> None:
    edits, reader = compiled(*llama, mode, roles(planted=False, n=8))
    assert {edit.mode for edit in edits} == {mode}
    assert reader.record()["counts"] == {mode: 8}
    assert reader.record()["asked"] == mode
    rows = certify(llama[0].model, llama[1], edits)
    assert all(abs(row.component_left - row.wanted_left) <= 1e-5 and row.relative_norm > 0 for row in rows)
    if mode == "M3":  # one row reads the shift, whatever the direction
        assert all(row.wanted_left > 0.1 for row in rows)


def test_groups_of_writers_give_what_all_at_once_give(
    llama: tuple[ChatModel, Anatomy], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = roles(planted=True, n=8)
    whole, _ = compiled(*llama, "M2", asked)
    monkeypatch.setattr(module, "HELD", 3_000_000)  # two layers of 4 x 512 rows of 64 + 96 channels
    matrices = [writer for writer in llama[1].writers if writer.form == "matrix"]
    assert [len(group) for group in module._groups(matrices, 4 * 512)] == [4, 4]
    parts, _ = compiled(*llama, "M2", asked)
    assert parts.sha256 == whole.sha256


def test_inputs_are_captured_once_and_reported_once(llama: tuple[ChatModel, Anatomy]) -> None:
    chat, anatomy = llama
    asked, heard, times = roles(planted=True), Heard(), []

    def given() -> Mapping[Role, Asked]:
        times.append(1)
        return asked

    reader = Reading(chat, anatomy, config("auto"), given, heard)
    compiler = Compiler(chat.model, anatomy, reader=reader)
    plan = plan_of(chat, anatomy, asked)
    first = compiler.compile(plan)
    other = replace(plan.vectors[0], vector=plan.vectors[0].vector.roll(1))
    compiler.compile(replace(plan, vectors=(other,)))
    assert Compiler(chat.model, anatomy, reader=reader).compile(plan).sha256 == first.sha256
    assert len(times) == 1
    assert heard.stages == ["inputs of the writers"]
    assert len(heard.notes) == 1
    assert heard.notes[0].startswith("input mode: 8 writers M3 (held-out AUROC median ")


def test_only_layers_in_reach_are_read_and_others_when_they_are_asked_for(
    llama: tuple[ChatModel, Anatomy],
) -> None:
    chat, anatomy = llama
    asked = roles(planted=True, n=8)
    reader = Reading(chat, anatomy, config("M3", scope="window"), lambda: asked, Silent())
    compiler = Compiler(chat.model, anatomy, reader=reader)
    plan = plan_of(chat, anatomy, asked)
    compiler.compile(replace(plan, scope="window", window=(1, 2)))
    layers = anatomy.named()
    assert {layers[name].layer for name in reader.reads} == {1, 2}
    assert {edit.mode for edit in compiler.compile(plan)} == {"M3"}
    assert {layers[name].layer for name in reader.reads} == {0, 1, 2, 3}


def test_inputs_of_an_edited_model_are_refused(llama: tuple[ChatModel, Anatomy]) -> None:
    chat, anatomy = llama
    asked = roles(planted=True, n=8)
    edits, _ = compiled(chat, anatomy, "M0", asked)
    with applied(chat.model, anatomy, edits), pytest.raises(RuntimeError, match="is hooked"):
        compiled(chat, anatomy, "M3", asked)


def test_what_cannot_be_read_stays_standard_and_is_named(checkpoints: Mapping[str, Path]) -> None:
    chat = load(str(checkpoints["gemma4_moe"]), ModelConfig(device="cpu"))
    anatomy = examine(chat.model)
    edits, reader = compiled(chat, anatomy, "M3", roles(planted=True, n=8))
    forms = {writer.name: writer.form for writer in anatomy.writers}
    assert {(forms[edit.writer], edit.mode) for edit in edits} == {("experts", "M0"), ("matrix", "M3")}
    record = reader.record()
    assert record["counts"]["M0"] == sum(form == "experts" for form in forms.values())
    assert sum(record["unread"].values()) == record["counts"]["M0"]
    assert list(record["unread"]) == ["an expert reads only the tokens that are routed to it"]
    only = Reading(chat, anatomy, config("M3", writers=("experts",)), lambda: roles(True), Silent())
    matrix = next(writer for writer in anatomy.writers if writer.form == "experts")
    with pytest.raises(ProbeError, match="none can be read") as error:
        only(matrix, torch.empty(0), edits.edits[matrix.name])
    assert "input_mode=M0" in error.value.hint


def test_a_bias_beside_a_matrix_that_reads_its_input_stays(checkpoints: Mapping[str, Path]) -> None:
    chat = load(str(checkpoints["qwen2"]), ModelConfig(device="cpu"))
    anatomy = examine(chat.model)
    edits, reader = compiled(chat, anatomy, "M1", roles(planted=True, n=8))
    assert {anatomy.named()[name].form for name in edits.edits} == {"matrix"}
    assert set(reader.record()["counts"]) == {"M1"}


def test_the_standard_mode_needs_no_reader(llama: tuple[ChatModel, Anatomy]) -> None:
    def ask(name: str, prompts: Sequence[Prompt]) -> Sequence[Any]:
        raise AssertionError("nothing is to be asked")

    assert reading(config("M0"), *llama, {}, {}, (), ask, Silent()) is None


@pytest.mark.slow
def test_a_whole_run_reads_inputs_exports_and_verifies(tmp_path: Path) -> None:
    short = ("refinement.max_iterations=1", "refinement.line_search=0", "ablation.path_points=2")
    fast = ("entanglement.damage_units=0", "entanglement.prompts=8", "ablation.input_mode=M3")
    given = [*tiny.SETTINGS, *tiny.sources(tmp_path / "prompts"), *short, *fast]
    settings, text = resolve(assignments=given)
    out = tmp_path / "run"
    run_job("demo", settings, text, out, resume=False, watch=Silent())
    edits, record = load_edit(out)
    assert {edit.mode for edit in edits} == {"M3"}
    assert record["format"] == 3
    assert {row["mode"] for row in record["writers"].values()} == {"M3"}
    report = verify(out / "checkpoint", device="cpu")
    assert report.ok
    assert "read their inputs in M3" in next(c for c in report.checks if c.name == "certificate").detail
    assert {row["input_mode"] for row in read_json(out / "entanglement.json")["units"]} == {"M3"}
