"""Which blocks are built alike: the Jacobian test runs on one block of each structure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from enum import Enum
from typing import Any

import torch
from torch import nn

from saber.model.discovery.chain import Call

Facts = dict[str, Hashable]


def group_alike(blocks: Sequence[nn.Module], calls: Sequence[Sequence[Call]], config: Any) -> list[list[int]]:
    """Indices of the blocks that ran, grouped by structure, in order of first appearance.

    Two blocks are alike if they agree in everything that may decide how data flows: classes of all submodules, names
    and shapes of parameters and buffers, every scalar attribute, the kinds and shapes of their arguments, and what the
    config says of them alone.
    """
    facts: dict[int, Facts] = {}
    for i, block in enumerate(blocks):
        if calls[i]:
            facts[i] = {**_of_module(block), **_of_call(calls[i][0]), **_of_config(config, i, len(blocks))}
    dropped = _indices(list(facts.values()))
    groups: dict[Hashable, list[int]] = {}
    for i, known in facts.items():
        key = frozenset((name, value) for name, value in known.items() if name not in dropped)
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def _of_module(block: nn.Module) -> Facts:
    facts: Facts = {}
    for path, module in block.named_modules():
        facts[f"{path}:class"] = type(module).__qualname__
        for name, value in vars(module).items():
            known = _simple(value)
            if known is not None:
                facts[f"{path}:{name}"] = known
    for name, parameter in block.named_parameters():
        facts[f"{name}:shape"] = tuple(parameter.shape)
    for name, buffer in block.named_buffers():
        facts[f"{name}:buffer"] = tuple(buffer.shape)
    return facts


def _of_call(call: Call) -> Facts:
    arguments = {**{str(i): value for i, value in enumerate(call.args)}, **call.kwargs}
    return {f"argument {name}": _kind(value) for name, value in arguments.items()}


def _of_config(config: Any, index: int, n_layers: int) -> Facts:
    """Entries of the config's per-layer lists: a block may look itself up while it runs."""
    if config is None:
        return {}
    return {
        f"config {name}": _simple(value[index])
        for name, value in vars(config).items()
        if isinstance(value, list | tuple) and len(value) == n_layers
    }


def _simple(value: Any) -> Hashable | None:
    """A value that may decide the data flow, or None.

    Floats scale what flows; only their being absent, 0 or 1 can take a path away, and some models give each block its
    own (a depth-dependent initial weight), so the rest count as alike.
    """
    if value is None or isinstance(value, bool | str | int):
        return "none" if value is None else (type(value).__name__, value)
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, float):
        return ("float", value if value in (0.0, 1.0) else "other")
    if isinstance(value, list | tuple) and all(isinstance(item, bool | str | int) for item in value):
        return tuple(value)
    if callable(value) and not isinstance(value, nn.Module):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return None


def _kind(value: Any) -> Hashable:
    if torch.is_tensor(value):
        return tuple(value.shape)
    if isinstance(value, Mapping | list | tuple):
        return (type(value).__name__, bool(value))
    return _simple(value) or type(value).__qualname__


def _indices(facts: Sequence[Facts]) -> set[str]:
    """Names of facts that only number the blocks: whole numbers that differ in every block that has them."""
    values: dict[str, list[Hashable]] = {}
    for known in facts:
        for name, value in known.items():
            if isinstance(value, tuple) and len(value) == 2 and value[0] == "int":
                values.setdefault(name, []).append(value)
    return {name for name, seen in values.items() if len(seen) > 1 and len(set(seen)) == len(seen)}
