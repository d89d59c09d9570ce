"""The chain of blocks, by data flow: what one block returns is what the next one is given."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saber.errors import AnatomyError

Slot = int | str
"""Where a block takes the stream: position or keyword of the argument."""

_LINKED = 0.5
"""Least share of neighbours that must hand the stream on: a decoder may touch the stream between some blocks
(an injected embedding, a skipped block), but not between most of them."""


@dataclass(frozen=True)
class Call:
    """One call of a block: copies of what it was given and of the tensors it returned."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Tensor, ...]

    def given(self) -> dict[Slot, Tensor]:
        """Floating-point tensors among the arguments."""
        arguments: list[tuple[Slot, Any]] = [*enumerate(self.args), *self.kwargs.items()]
        return {slot: value for slot, value in arguments if _is_hidden(value)}


@dataclass(frozen=True)
class Chain:
    """Blocks that hand the residual stream on.

    Attributes:
        layers: Name of the module that holds the blocks.
        blocks: The blocks, in order.
        calls: The calls of each block; empty for a block that these inputs do not run.
        slot: The argument that is the stream.
        port: Index of the stream among the tensors that a block returns.
        d_model: Width of one stream.
        batch: Shape of `input_ids`: (batch, sequence).
    """

    layers: str
    blocks: tuple[nn.Module, ...]
    calls: tuple[tuple[Call, ...], ...]
    slot: Slot
    port: int
    d_model: int
    batch: tuple[int, int]

    def first(self) -> int:
        """Index of the first block that runs."""
        return next(i for i, calls in enumerate(self.calls) if calls)

    def entry(self) -> Float[Tensor, "streams places d_model"]:
        """The stream's first value, as it was recorded."""
        return self.by_stream(self.calls[self.first()][0].given()[self.slot])

    def by_stream(self, hidden: Tensor) -> Float[Tensor, "streams places d_model"]:
        """A stream tensor as (streams, places, d_model), wherever it keeps its parallel streams.

        They are one more axis before or after (batch, sequence), or lie side by side in the last axis.
        """
        if hidden.shape[-1] != self.d_model:
            hidden = hidden.unflatten(-1, (-1, self.d_model))
        leading = tuple(hidden.shape[:-1])
        for start in range(len(leading) - 1):
            if leading[start : start + 2] == self.batch:
                rest = [axis for axis in range(len(leading)) if axis not in (start, start + 1)]
                moved = hidden.permute(*rest, start, start + 1, hidden.ndim - 1)
                return moved.reshape(-1, self.batch[0] * self.batch[1], self.d_model)
        return hidden.reshape(1, -1, self.d_model)


class _EntryReachedError(Exception):
    """Ends a forward pass at the first block."""


def find_chain(model: nn.Module, inputs: Mapping[str, Any], d_model: int) -> Chain:
    """Find the longest list of modules that hand a tensor of width d_model on during one forward pass.

    Raises:
        AnatomyError: There is none.
    """
    batch = _batch(model, inputs)
    lists = {name: module for name, module in model.named_modules() if _is_list(module)}
    calls = record(model, inputs, lists)
    chains = [
        chain
        for name, module in lists.items()
        if (chain := _as_chain(name, module, calls[name], d_model, batch))
    ]
    if not chains:
        raise AnatomyError(
            f"{type(model).__name__} has no chain of blocks that hand on a stream of width {d_model} "
            f"(lists of modules: {', '.join(lists) or 'none'})",
            hint="SABER edits decoder-only language models whose blocks each add to one residual stream.",
        )
    return max(chains, key=lambda chain: (sum(map(bool, chain.calls)), -len(chain.layers)))


def follow(model: nn.Module, inputs: Mapping[str, Any], layers: str, d_model: int) -> Chain:
    """Record one forward pass through a known list of blocks."""
    module = model.get_submodule(layers)
    calls = record(model, inputs, {layers: module})[layers]
    chain = _as_chain(layers, module, calls, d_model, _batch(model, inputs))
    if chain is None:
        raise AnatomyError(
            f"the modules of {layers} do not hand on a stream of width {d_model}",
            hint="Pass the model, or a twin of the model, that the discovery was made on.",
        )
    return chain


def run(model: nn.Module, inputs: Mapping[str, Any]) -> None:
    """One forward pass without a cache: caches would tie one call of a block to another."""
    accepted = inspect.signature(model.forward).parameters
    passes_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    knows = hasattr(getattr(model, "config", None), "use_cache")
    plain = {"use_cache": False} if "use_cache" in accepted or (passes_on and knows) else {}
    model(**{**plain, **inputs})


@torch.no_grad()
def record(
    model: nn.Module, inputs: Mapping[str, Any], lists: Mapping[str, nn.Module]
) -> dict[str, list[list[Call]]]:
    """Calls of every child of the given lists of modules during one forward pass."""
    calls: dict[str, list[list[Call]]] = {
        name: [[] for _ in module.children()] for name, module in lists.items()
    }
    open_calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def before(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Copies, because a block may add to its arguments in place.
        open_calls[id(block)] = (copied(args), copied(kwargs))

    def after(into: list[Call]) -> Callable[..., None]:
        def hook(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            into.append(Call(*open_calls.pop(id(block)), tuple(t.detach().clone() for t in tensors(output))))

        return hook

    handles = []
    for name, module in lists.items():
        for i, block in enumerate(module.children()):
            handles.append(block.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(block.register_forward_hook(after(calls[name][i]), with_kwargs=True))
    try:
        run(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return calls


@contextmanager
def entry(model: nn.Module, inputs: Mapping[str, Any], chain: Chain) -> Iterator[Tensor]:
    """The stream's first value with its graph; the forward pass ends at the first block."""
    kept: list[Tensor] = []

    def stop(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept.append(args[chain.slot] if isinstance(chain.slot, int) else kwargs[chain.slot])
        raise _EntryReachedError

    handle = chain.blocks[chain.first()].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with torch.enable_grad():
            run(model, inputs)
    except _EntryReachedError:
        pass
    finally:
        handle.remove()
    yield kept[0]


def tensors(value: Any) -> list[Tensor]:
    """Floating-point tensors with at least two axes in a block's output, in order."""
    if torch.is_tensor(value):
        return [value] if _is_hidden(value) else []
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in tensors(item)]
    return []


def copied(value: Any) -> Any:
    """Arguments with every tensor detached and copied; objects that are no containers stay as they are."""
    if torch.is_tensor(value):
        return value.detach().clone()
    if type(value) in (list, tuple):
        return type(value)(copied(item) for item in value)
    if isinstance(value, dict):
        made = copy.copy(value)
        for key in list(made):
            made[key] = copied(made[key])
        return made
    return value


def _is_hidden(value: Any) -> bool:
    return torch.is_tensor(value) and value.is_floating_point() and value.ndim >= 2


def _is_list(module: nn.Module) -> bool:
    names = [name for name, _ in module.named_children()]
    return len(names) >= 2 and names == [str(i) for i in range(len(names))]


def _batch(model: nn.Module, inputs: Mapping[str, Any]) -> tuple[int, int]:
    ids = inputs.get("input_ids")
    if not torch.is_tensor(ids) or ids.ndim != 2:
        raise AnatomyError(
            f"discovery of {type(model).__name__} needs `input_ids` of shape (batch, sequence) in its inputs",
            hint="Pass a mapping such as {'input_ids': ids}.",
        )
    return ids.shape[0], ids.shape[1]


def _as_chain(
    name: str, module: nn.Module, calls: list[list[Call]], d_model: int, batch: tuple[int, int]
) -> Chain | None:
    """The list as a chain, if enough of its neighbours hand a tensor of width d_model on."""
    ran = [block_calls[0] for block_calls in calls if block_calls]
    votes: dict[tuple[Slot, int], int] = {}
    for former, latter in pairwise(ran):
        for slot, given in latter.given().items():
            for port, output in enumerate(former.outputs):
                if (
                    given.shape[-1] % d_model == 0
                    and given.shape == output.shape
                    and torch.equal(given, output)
                ):
                    votes[slot, port] = votes.get((slot, port), 0) + 1
    if not votes or max(votes.values()) < _LINKED * (len(ran) - 1):
        return None
    slot, port = max(votes, key=lambda link: votes[link])
    return Chain(name, tuple(module.children()), tuple(map(tuple, calls)), slot, port, d_model, batch)
