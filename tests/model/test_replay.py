"""A pass that replays its first blocks has the logits of a whole one, also when later blocks are edited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saber.model.discovery.chain import find_chain
from saber.model.forward import call
from saber.model.generate import Batch
from saber.model.padding import company
from saber.model.replay import Prefix, shareable
from tests import pico
from tests.zoo import ZOO, build

MOST = {"gemma4": 1, "gemma4_mm": 1, "gemma4_moe": 5}
"""Of 4 blocks 3 may be skipped; Gemma 4's blocks 1 and 2 (of 6) make the keys that the last three share."""
NAMES = (
    "bloom", "cohere", "falcon", "gpt2", "gpt_oss", "mixtral", "olmo2", "opt", "phi3", "qwen3_moe", "qwen3_next",
    "zamba",
)  # fmt: skip


def _model(name: str) -> Any:
    return pico.model(name) if name in pico.FAMILIES else build(ZOO[name])


def _batch(rows: list[list[int]]) -> Batch:
    width = max(map(len, rows))
    ids = torch.tensor([[7] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return Batch(list(range(len(rows))), ids, mask, torch.zeros_like(mask))


def _texts(lengths: tuple[int, ...]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(20, 240, (length,), generator=generator).tolist() for length in lengths]


@contextmanager
def _edited(block: nn.Module) -> Iterator[None]:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        first: Tensor = output[0] if isinstance(output, tuple) else output
        changed = first + 0.3 * torch.arange(len(first))[:, None, None] * first.roll(1, -1)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = block.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("name", [*pico.FAMILIES, *NAMES])
@torch.no_grad()
def test_replayed_logits_are_those_of_a_whole_pass(name: str) -> None:
    model = _model(name)
    layers = find_chain(model, {"input_ids": torch.tensor(_texts((9,)))}, 64).layers
    blocks = list(model.get_submodule(layers).children())
    most = shareable(model).most(len(blocks) - 1)
    assert most == MOST.get(name, len(blocks) - 1)
    one, two, three = _texts((9, 14, 14) if company(model) == "any" else (14, 14, 14))
    prefix = Prefix(model, layers, most)
    prefix.record(_batch([one, two]))
    again = _batch([two, one, two, three, one])
    assert not prefix.known(again)
    prefix.record(again)
    assert prefix.known(again)
    inside = [module for module in blocks[0].modules() if not list(module.children())]
    ran: list[nn.Module] = []
    with _edited(blocks[most]):
        whole = call(model, again.ids, again.mask).logits
        handles = [module.register_forward_pre_hook(lambda m, a: ran.append(m)) for module in inside]
        for keep in (0, 3):
            with prefix.replayed(again):
                found = call(model, again.ids, again.mask, keep=keep).logits
            shown = again.mask[:, -found.shape[1] :].bool()
            change = (found - whole[:, -found.shape[1] :])[shown].abs()
            assert change[change.isfinite()].max() <= 1e-5 * max(1.0, float(whole.abs().max()))
        assert not ran
        for handle in handles:
            handle.remove()
        assert torch.equal(call(model, again.ids, again.mask).logits, whole)
