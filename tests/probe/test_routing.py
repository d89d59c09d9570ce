"""Which experts get the routing weight, and edits of those experts alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.zoo_folder import save

from saber.ablation.apply import InPlace, applied, base_hash, certify
from saber.ablation.compiler import compile_edit
from saber.ablation.edit import EditSet
from saber.ablation.operator import ablation_operator
from saber.config import ModelConfig
from saber.errors import ProbeError
from saber.model.anatomy import Anatomy
from saber.model.examine import examine
from saber.model.generate import Answer, batches, forward
from saber.model.load import ChatModel, load
from saber.probe.routing import routed_experts
from saber.prompts.prompt import Prompt

PROMPTS = [Prompt(text=text, role="harmful") for text in ("Name a colour.", "Why does it rain?", "hi")]
ANSWERS = [Answer("", (40, 41), False), Answer("", (50,), False), Answer("", (), False)]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatModel:
    folder = save("qwen3_moe", tmp_path_factory.mktemp("moe"))
    return load(str(folder), ModelConfig(device="cpu"))


@pytest.fixture(scope="module")
def anatomy(chat: ChatModel) -> Anatomy:
    return examine(chat.model)


def routing(chat: ChatModel, module: str) -> torch.Tensor:
    """Routing weight by expert, from the router's own output, one prompt at a time without padding."""
    total = torch.zeros(4, dtype=torch.float64)
    seen: list[tuple[torch.Tensor, ...]] = []
    pairs = zip(PROMPTS, ANSWERS, strict=True)
    rows = [batch for p, a in pairs for batch in batches(chat, [p.text], [list(a.tokens)])]
    gate = chat.model.get_submodule(module.rpartition(".")[0]).gate
    handle = gate.register_forward_hook(lambda m, a, out: seen.append(out))
    for batch in rows:
        forward(chat, batch)
        _, scores, index = seen.pop()
        total.index_add_(0, index.flatten(), scores.flatten().double())
    handle.remove()
    return total


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 1.0])
def test_the_fewest_experts_that_get_the_share(chat: ChatModel, anatomy: Anatomy, share: float) -> None:
    found = routed_experts(chat, anatomy, PROMPTS, ANSWERS, share=share)
    assert list(found) == [f"model.layers.{i}.mlp.experts" for i in range(4)]
    for module, experts in found.items():
        weight = routing(chat, module)
        part = weight / weight.sum()
        chosen = float(part[list(experts)].sum())
        assert chosen >= share - 1e-6
        assert chosen - float(part[list(experts)].min()) < share  # one fewer would not do
        left = [i for i in range(4) if i not in experts]
        assert not left or float(part[left].max()) <= float(part[list(experts)].min())


def edit(chat: ChatModel, anatomy: Anatomy, experts: tuple[int, ...]) -> EditSet:
    writers = [writer for writer in anatomy.writers if writer.form == "experts"]
    basis = torch.linalg.qr(torch.randn(64, 2, generator=torch.Generator().manual_seed(0))).Q
    operator = ablation_operator(basis, torch.ones(2))
    edits = {w.name: compile_edit(chat.model, w, operator, basis, experts) for w in writers}
    return EditSet(edits, base_hash(chat.model, writers))


def test_only_the_named_experts_change(chat: ChatModel, anatomy: Anatomy) -> None:
    edits = edit(chat, anatomy, (1, 3))
    name = next(iter(edits.edits))
    weight = chat.model.get_parameter(name)
    before = weight.clone()
    batch = next(batches(chat, [prompt.text for prompt in PROMPTS]))
    base = forward(chat, batch)
    with applied(chat.model, anatomy, edits):
        hooked = forward(chat, batch)
        changed = [bool((weight[i] != before[i]).any()) for i in range(4)]
        assert changed == [False, True, False, True]
    assert torch.equal(weight, before)
    assert torch.equal(forward(chat, batch), base)
    placed = InPlace(chat.model, anatomy, edits)
    assert (forward(chat, batch) - hooked).abs().max() <= 1e-5
    placed.undo()
    assert (hooked - base).abs().max() > 1e-3
    rows = certify(chat.model, anatomy, edits)
    assert max(row.wanted_left for row in rows) <= 1e-5


def test_all_experts_named_are_all_experts(chat: ChatModel, anatomy: Anatomy) -> None:
    batch = next(batches(chat, [prompt.text for prompt in PROMPTS]))
    with applied(chat.model, anatomy, edit(chat, anatomy, (0, 1, 2, 3))):
        named = forward(chat, batch)
    writers = [writer for writer in anatomy.writers if writer.form == "experts"]
    everything = edit(chat, anatomy, (0, 1, 2, 3))
    plain = {n: compile_all(chat, e.writer, anatomy) for n, e in everything.edits.items()}
    with applied(chat.model, anatomy, EditSet(plain, base_hash(chat.model, writers))):
        assert (forward(chat, batch) - named).abs().max() <= 1e-5


def compile_all(chat: ChatModel, name: str, anatomy: Anatomy) -> object:
    basis = torch.linalg.qr(torch.randn(64, 2, generator=torch.Generator().manual_seed(0))).Q
    return compile_edit(chat.model, anatomy.named()[name], ablation_operator(basis, torch.ones(2)), basis)


def test_routing_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    chat = load(str(save("llama4", tmp_path)), ModelConfig(device="cpu"))
    with pytest.raises(ProbeError, match="routing cannot be read") as error:
        routed_experts(chat, examine(chat.model), PROMPTS, ANSWERS, share=0.9)
    assert "ablation.experts=all" in error.value.hint


def test_dense_models_have_no_routing(checkpoints: dict[str, Path]) -> None:
    chat = load(str(checkpoints["llama"]), ModelConfig(device="cpu"))
    assert routed_experts(chat, examine(chat.model), PROMPTS, ANSWERS, share=0.9) == {}


def test_experts_that_cannot_be_edited_one_by_one_are_refused(chat: ChatModel, anatomy: Anatomy) -> None:
    writers = tuple(replace(w, form="matrix") if w.form == "experts" else w for w in anatomy.writers)
    with pytest.raises(ProbeError, match="no part of a fused block"):
        routed_experts(chat, replace(anatomy, writers=writers), PROMPTS, ANSWERS, share=0.9)
    with torch.device("meta"):
        bare = type(chat.model)(chat.model.config)
    with pytest.raises(ProbeError, match="is offloaded in memory"):
        routed_experts(replace(chat, model=bare), anatomy, PROMPTS, ANSWERS, share=0.9)
