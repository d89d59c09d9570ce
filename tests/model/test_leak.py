"""The leak test: after one direction leaves every writer, the real model's stream holds none of it."""

from __future__ import annotations

import torch

from saber.ablation.apply import edited_weight
from saber.ablation.compiler import compile_edit
from saber.ablation.operator import ablation_operator
from saber.model.anatomy import effective_gain
from saber.model.examine import examine
from saber.model.load import ChatModel


def leak(chat: ChatModel, direction: torch.Tensor, *, norm_aware: bool) -> float:
    """Largest |h d| / |h| over the outputs of all layers, after projecting `direction` out of everything."""
    anatomy = examine(chat.model)
    basis = direction[:, None]
    for writer in anatomy.writers:
        gain = effective_gain(chat.model, writer)
        operator = ablation_operator(basis, torch.ones(1), gain, post_norm="ridge" if norm_aware else "naive")
        edit = compile_edit(chat.model, writer, operator, basis)
        parameter = chat.model.get_parameter(writer.name)
        parameter.data.copy_(edited_weight(parameter.data, edit, writer))
    worst = []

    def read(module: object, args: object, output: object) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        worst.append(float(((hidden @ direction).abs() / hidden.norm(dim=-1)).max()))

    handles = [anatomy.block(chat.model, i).register_forward_hook(read) for i in range(anatomy.n_layers)]
    ids = torch.randint(5, 240, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        chat.model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return max(worst)


def test_no_writer_is_missed(chat: ChatModel) -> None:
    d = torch.randn(64, generator=torch.Generator().manual_seed(3))
    assert leak(chat, d / d.norm(), norm_aware=True) <= 1e-6


def test_naive_edit_leaks_behind_post_norms(chat: ChatModel) -> None:
    d = torch.randn(64, generator=torch.Generator().manual_seed(3))
    has_post_norm = any(writer.norms for writer in examine(chat.model).writers)
    found = leak(chat, d / d.norm(), norm_aware=False)
    assert (found > 1e-2) == has_post_norm
