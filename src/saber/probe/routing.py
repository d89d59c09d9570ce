"""Which experts of a mixture the harmful prompts and their answers are routed to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saber.errors import ProbeError
from saber.model.anatomy import Anatomy
from saber.model.generate import Answer, batches, forward
from saber.model.load import ChatModel
from saber.model.weights import held
from saber.prompts.prompt import Prompt

_ALL = "Edit all experts alike: --set ablation.experts=all"


def routed_experts(
    chat: ChatModel, anatomy: Anatomy, prompts: Sequence[Prompt], answers: Sequence[Answer], *, share: float
) -> dict[str, tuple[int, ...]]:
    """Fewest experts of each fused block that get `share` of the routing weight, prompts and answers together.

    Args:
        chat: The model.
        anatomy: Its writers.
        prompts: Harmful prompts.
        answers: The base model's own answers to them.
        share: Share of the routing weight over all their tokens, above 0 to 1.

    Returns:
        By module of fused experts, the experts in order; empty for a model without any.

    Raises:
        ProbeError: A block does not hand its experts the indices that its router chose, or its experts are modules of
            their own or no plain tensors in memory.
    """
    apart = [w.name for w in anatomy.writers if w.kind == "experts" and w.form != "experts"]
    if apart:
        raise ProbeError(
            f"{apart[0]} is no part of a fused block of experts, so what is routed to it cannot be read",
            hint=_ALL,
        )
    away = [w.name for w in anatomy.writers if w.n_experts and held(chat.model, w.name) != "plain"]
    if away:
        raise ProbeError(
            f"{away[0]} is {held(chat.model, away[0])} in memory, and an edit of some experts is measured in place",
            hint=_ALL,
        )
    modules = {w.module: w.shape[0] for w in anatomy.writers if w.form == "experts"}
    weight = {name: torch.zeros(experts, dtype=torch.float64) for name, experts in modules.items()}
    if not modules:
        return {}
    mask: list[Tensor] = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = [*args, *kwargs.values()]
            weight[name] += _received(name, given, mask[0], len(weight[name]))

        return hook

    # Made before the hooks are on: a first batch may run the model once to see how it bears padding.
    rows = list(batches(chat, [prompt.text for prompt in prompts], [list(a.tokens) for a in answers]))
    handles = [
        chat.model.get_submodule(name).register_forward_pre_hook(watch(name), with_kwargs=True)
        for name in modules
    ]
    try:
        for batch in rows:
            mask[:] = [batch.mask.flatten().cpu()]
            forward(chat, batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: _fewest(received, share) for name, received in weight.items()}


def _received(name: str, given: Sequence[Any], mask: Tensor, experts: int) -> Tensor:
    """Routing weight of each expert over the tokens that are not padding."""
    tensors = [value for value in given if isinstance(value, Tensor)]
    index = next((t for t in tensors if not t.is_floating_point() and t.ndim == 2), None)
    if index is None or len(index) != len(mask):
        raise ProbeError(
            f"{name} does not take the indices of the experts that its router chose, so routing cannot be read",
            hint=_ALL,
        )
    real, chosen = mask.bool(), index.cpu().long()
    weights = _weights_of(tensors, chosen).detach().double().cpu()
    places, values = chosen[real].flatten(), weights[real].flatten()
    routed = places < experts  # LongCat counts its identity experts behind the others
    return torch.zeros(experts, dtype=torch.float64).index_add_(0, places[routed], values[routed])


def _weights_of(tensors: Sequence[Tensor], index: Tensor) -> Tensor:
    """The router's weight of each choice, 1 where it is not handed on with the choice."""
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.shape == index.shape:
            return tensor
    return torch.ones(index.shape)


def _fewest(received: Tensor, share: float) -> tuple[int, ...]:
    if not bool(received.sum() > 0):
        return ()
    order = received.argsort(descending=True, stable=True)
    total = received[order].cumsum(0) / received.sum()
    count = int((total < share - 1e-9).sum()) + 1
    return tuple(sorted(int(i) for i in order[:count]))
