"""Discovery finds exactly the writers, with their gains, and the leak test proves it or says where it fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from saber.errors import AnatomyError
from saber.model.discovery import Discovery, Gain, discover, leak_test
from saber.model.discovery.chain import find_chain
from saber.model.discovery.diagonal import agreed_diagonal, diagonal_part
from saber.model.discovery.gains import explain
from saber.model.discovery.signature import group_alike
from tests import zoo
from tests.zoo import toy

REPRESENTATIVE = (
    "llama",  # plain
    "gpt_oss",  # experts along axis 2, biases of experts
    "gpt2",  # transposed linears, learned positions, biases
    "bloom",  # LayerNorm behind the embedding
    "gemma2",  # norms behind the writers, gain 1 + weight
    "gemma4",  # a third writer, shared caches, scaling in place
    "gemma4_moe",  # norms in series
    "gemma3n",  # parallel streams; leaks
    "deepseek_v4",  # hyper-connections
    "qwen4_exp",  # streams side by side in one axis
    "nemotron_h",  # one writer a block
    "qwen3_5",  # gated delta net
    "jetmoe",  # biases after experts
    "zaya",  # vector scales; leaks
    "rwkv",  # gates behind writers; leaks
    "mllama",  # blocks that do not run
)
LEAK_FREE = 1e-6
"""Above the rounding of fp32 (1e-7), below any true leak (1e-4 for one small bias, 1e-2 for a matrix)."""


def check(name: str) -> None:
    architecture = zoo.ZOO[name]
    model = zoo.build(architecture)
    found = discover(model, zoo.inputs(), 64)
    assert zoo.compare(architecture, model, found) == []
    left = leak_test(model, zoo.inputs(), found)
    assert (left.worst <= LEAK_FREE) == (not architecture.leaks), (left, architecture.leaks)
    if any(writer.gains for writer in found.found):
        assert leak_test(model, zoo.inputs(), found, use_gains=False).worst > 1e-3


@pytest.mark.parametrize("name", REPRESENTATIVE)
def test_writers_are_exactly_those_of_the_source(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in zoo.ZOO if name not in REPRESENTATIVE])
def test_whole_zoo(name: str) -> None:
    check(name)


@pytest.mark.parametrize("name", ["llama", "gemma4", "zaya"])
def test_model_is_left_as_it_was(name: str) -> None:
    model = zoo.build(zoo.ZOO[name])
    next(model.parameters()).requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [parameter.requires_grad for parameter in model.parameters()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    found = discover(model, zoo.inputs(), 64)
    leak_test(model, zoo.inputs(), found)
    after = model.state_dict()
    assert all(torch.equal(before[key].nan_to_num(), after[key].nan_to_num()) for key in before)
    assert flags == [parameter.requires_grad for parameter in model.parameters()]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert discover(model, zoo.inputs(), 64) == found


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt_oss", "bloom"])
def test_leak_test_misses_no_missing_writer(name: str) -> None:
    model = zoo.build(zoo.ZOO[name])
    found = discover(model, zoo.inputs(), 64)
    for i, writer in enumerate(found.found):
        fewer = replace(found, found=found.found[:i] + found.found[i + 1 :])
        left = leak_test(model, zoo.inputs(), fewer)
        assert left.worst > 10 * LEAK_FREE, writer
        first = 0 if writer.layer is None else writer.layer + 1
        assert max(left.per_layer[:first], default=0.0) <= LEAK_FREE
        assert left.where in ("input of layer 0", *(f"output of layer {k}" for k in range(found.n_layers)))
        assert len(left.per_layer) == found.n_layers + 1


def test_leak_test_sees_a_wrong_gain() -> None:
    model = zoo.build(zoo.ZOO["gemma3"])
    found = discover(model, zoo.inputs(), 64)
    i = next(i for i, writer in enumerate(found.found) if writer.gains)
    norm = found.found[i].gains[0]
    wrong = replace(found.found[i], gains=(replace(norm, offset=0.0),))
    changed = replace(found, found=(*found.found[:i], wrong, *found.found[i + 1 :]))
    assert leak_test(model, zoo.inputs(), changed).worst > 1e-3


def test_chained_norms_are_named_in_order() -> None:
    model = zoo.build(zoo.ZOO["gemma4_moe"])
    found = discover(model, zoo.inputs(), 64)
    experts = next(writer for writer in found.found if writer.form == "experts")
    prefix = "model.layers.0.post_feedforward_layernorm"
    assert experts.gains == (Gain(f"{prefix}_2.weight", 0.0), Gain(f"{prefix}.weight", 0.0))


@pytest.mark.parametrize("name", ["llama", "opt", "gemma4_mm", "mamba2", "hrm_text"])
def test_decoder_runs_the_blocks(name: str) -> None:
    model = zoo.build(zoo.ZOO[name])
    found = discover(model, zoo.inputs(), 64)
    seen: list[int] = []
    for i, block in enumerate(model.get_submodule(found.layers)):
        block.register_forward_hook(lambda *_, i=i: seen.append(i))
    model.get_submodule(found.decoder)(input_ids=zoo.inputs()["input_ids"])
    assert set(seen) == set(range(found.n_layers))


def names(found: Discovery) -> set[str]:
    return {writer.name for writer in found.found}


def plant(module: type[nn.Module] | None, writes: bool) -> toy.Change:
    def change(block: toy.Block) -> None:
        block.planted = nn.Linear(40, toy.WIDTH, bias=False) if module is None else module()
        block.planted_writes = writes

    return change


TOY = {"table.weight"} | {
    f"stack.{i}.{leaf}" for i in range(3) for leaf in ("out.weight", "out.bias", "down.weight")
}


def test_toy_by_what_it_does() -> None:
    model = toy.Toy()
    found = discover(model, toy.inputs(), toy.WIDTH)
    assert names(found) == TOY
    assert (found.layers, found.decoder, found.n_layers, found.streams) == ("stack", "", 3, 1)
    by_name = {writer.name: writer for writer in found.found}
    assert by_name["stack.1.down.weight"].gains == (Gain("stack.1.behind.weight", 0.0),)
    assert {by_name[f"stack.0.{leaf}"].form for leaf in ("out.weight", "down.weight")} == {"matrix"}
    assert (by_name["stack.0.out.bias"].form, by_name["table.weight"].form) == ("bias", "embedding")
    assert leak_test(model, toy.inputs(), found).worst <= LEAK_FREE


def test_planted_module_that_does_not_write_is_not_found() -> None:
    model = toy.Toy(change=plant(None, writes=False))
    assert names(discover(model, toy.inputs(), toy.WIDTH)) == TOY


def test_planted_writer_is_found() -> None:
    model = toy.Toy(change=plant(None, writes=True))
    found = discover(model, toy.inputs(), toy.WIDTH)
    assert names(found) == TOY | {f"stack.{i}.planted.weight" for i in range(3)}
    assert leak_test(model, toy.inputs(), found).worst <= LEAK_FREE


def test_writer_planted_in_one_of_many_blocks_is_found() -> None:
    def change(block: toy.Block) -> None:
        if block.index == 5:
            plant(None, writes=True)(block)

    found = discover(toy.Toy(9, change), toy.inputs(), toy.WIDTH)
    assert [writer.layer for writer in found.found if "planted" in writer.name] == [5]


def test_flag_that_changes_the_flow_splits_the_blocks() -> None:
    def change(block: toy.Block) -> None:
        plant(None, writes=block.index == 2)(block)

    found = discover(toy.Toy(5, change), toy.inputs(), toy.WIDTH)
    assert [writer.layer for writer in found.found if "planted" in writer.name] == [2]


def test_experts_that_no_token_reaches_write_as_their_siblings() -> None:
    found = discover(toy.Toy(change=plant(toy.Experts, writes=True)), toy.inputs(), toy.WIDTH)
    weights = {f"stack.0.planted.experts.{i}.{leaf}" for i in range(4) for leaf in ("weight", "bias")}
    assert weights <= names(found)


def test_custom_gradients_without_batches() -> None:
    found = discover(toy.Toy(change=plant(toy.Unbatchable, writes=True)), toy.inputs(), toy.WIDTH)
    assert names(found) == TOY | {f"stack.{i}.planted.linear.weight" for i in range(3)}


def test_shared_parameter_is_listed_once() -> None:
    model = toy.Toy()
    for block in model.stack[1:]:
        block.out, block.down, block.behind = model.stack[0].out, model.stack[0].down, model.stack[0].behind
    found = discover(model, toy.inputs(), toy.WIDTH)
    assert names(found) == {"table.weight", "stack.0.out.weight", "stack.0.out.bias", "stack.0.down.weight"}
    assert len(found.found) == 4
    assert leak_test(model, toy.inputs(), found).worst <= LEAK_FREE


def test_deep_models_have_few_structures() -> None:
    for name, structures in (("llama", 1), ("gemma4", 5), ("diffllama", 1), ("qwen3_next", 2)):
        architecture = zoo.ZOO[name]
        model = zoo.build(architecture)
        chain = find_chain(model, zoo.inputs(), 64)
        assert len(group_alike(chain.blocks, chain.calls, model.config)) == structures, name


def test_refusals() -> None:
    from transformers import BertConfig, BertLMHeadModel, T5Config, T5ForConditionalGeneration

    bert = BertLMHeadModel(
        BertConfig(
            vocab_size=300, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
        )
    ).eval()
    with pytest.raises(AnatomyError, match="sees later ones"):
        discover(bert, zoo.inputs(), 64)
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=300, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4)
    )
    with pytest.raises(AnatomyError, match="two residual streams"):
        discover(t5, zoo.inputs(), 64)
    with pytest.raises(AnatomyError, match="no chain of blocks"):
        discover(toy.Toy(), toy.inputs(), toy.WIDTH + 1)
    with pytest.raises(AnatomyError, match="input_ids"):
        discover(toy.Toy(), {}, toy.WIDTH)


@pytest.mark.parametrize("learned", [True, False])
def test_blocks_that_add_nothing_are_refused(learned: bool) -> None:
    model = toy.Toy()
    model.stack = nn.ModuleList(toy.Idle(learned=learned) for _ in range(3))
    with pytest.raises(AnatomyError, match="nothing in stack"):
        discover(model, toy.inputs(), toy.WIDTH)


def test_diagonal_plus_low_rank() -> None:
    generator = torch.Generator().manual_seed(0)
    d, n = 48, 20
    rows = torch.randperm(d, generator=generator)[:n]
    gain = 1 + 0.3 * torch.randn(d, generator=generator)
    column, row = torch.randn(n, 1, generator=generator), torch.randn(1, d, generator=generator)
    diagonal = torch.zeros(n, d)
    diagonal[torch.arange(n), rows] = gain[rows]
    for low_rank in (torch.zeros(n, d), column @ row):
        part = diagonal_part(diagonal + low_rank, rows)
        assert part is not None
        assert torch.allclose(part.values.abs(), (gain[rows] / gain[rows].norm()).abs().double(), atol=1e-5)
        assert not part.centred
    assert diagonal_part(column @ row, rows) is None
    assert diagonal_part(diagonal + torch.randn(n, d, generator=generator), rows) is None
    centred = diagonal - gain[rows, None] / d
    assert (part := diagonal_part(centred, rows)) is not None
    assert part.centred
    agreed = agreed_diagonal(torch.stack([diagonal, torch.zeros(n, d), -2 * diagonal + column @ row]), rows)
    assert agreed is not None
    assert agreed.change < 1e-5


def test_gains_are_explained_by_products() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(24)
    vectors = {name: 0.3 * torch.randn(64, generator=generator) for name in "abc"}
    for gains in ((), (("a", 1.0),), (("b", 0.0),), (("a", 1.0), ("c", 1.0))):
        product = torch.ones(64)
        for name, offset in gains:
            product = product * (offset + vectors[name])
        found = explain((-product / product[rows].norm())[rows].double(), vectors, rows)
        assert found.holds
        assert found.gains == gains
    other = torch.randn(24, generator=generator).double()
    assert not explain(other / other.norm(), vectors, rows).holds
