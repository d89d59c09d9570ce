"""Facts about a model class that are found by trying, once for each class and config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn

Fact = TypeVar("Fact")

TOLERANCE = 1e-3
"""Largest change of the logits that counts as none, in units of their spread: see `padding`."""


class Once(Generic[Fact]):
    """Remembers what was found for a model, and for every other model of its class and config.

    Attributes:
        find: Tries it; takes a second or two.
        stand_in: What holds for a stand-in that is no transformers model.
    """

    def __init__(self, find: Callable[[Any], Fact], stand_in: Fact) -> None:
        self.find, self.stand_in = find, stand_in
        self._models: WeakKeyDictionary[nn.Module, Fact] = WeakKeyDictionary()
        self._configs: dict[tuple[type, str], Fact] = {}

    def __call__(self, model: Any) -> Fact:
        """The fact, found now or before."""
        if model not in self._models:
            self._models[model] = self._of_config(model)
        return self._models[model]

    def _of_config(self, model: Any) -> Fact:
        if not hasattr(model.config, "to_json_string"):
            return self.stand_in
        key = type(model), str(model.config.to_json_string(use_diff=False))
        if key not in self._configs:
            self._configs[key] = self.find(model)
        return self._configs[key]


def close(one: Tensor, other: Tensor) -> bool:
    """Whether logits are the same but for rounding; ids at minus infinity are left out.

    Args:
        one: What they should be.
        other: The same shape.
    """
    finite = one.isfinite() & other.isfinite()
    change = (one.float() - other.float())[finite].square().mean().sqrt()
    return bool(change <= TOLERANCE * one.float()[finite].std())
