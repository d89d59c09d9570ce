"""A model of the user's class and depth that is small enough to differentiate on a CPU in a second."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode

from saber.errors import AnatomyError
from saber.model.twin.randomise import randomise
from saber.model.twin.rules import LOW_IDS
from saber.model.twin.shrink import nodes, rule_of, shrink

BUDGET = 30_000_000
"""Parameters and buffer entries; a twin beyond it has a width that no rule knows."""
TOKENS = 12
"""Length of the text that `twin_inputs` gives."""

FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""What model classes raise, built or run so small, when sizes do not fit them."""


def build_twin(model_class: Any, config: Any, seed: int = 0) -> nn.Module:
    """Build a small random model whose parameters have the names of the real model's.

    Same class, same depth, same pattern of layers, experts and shared caches; every width is small (`shrink`) and
    every parameter random, so that no norm has unit gain and no bias is zero. On the CPU, float32, in eval mode.
    Global random state is left as it was.

    Args:
        model_class: The concrete class, `type(model)`.
        config: The real model's config, `model.config`.
        seed: Same seed, same weights.

    Raises:
        AnatomyError: The class cannot be built from the small config, or not small.
    """
    small: Any = None
    try:
        small = shrink(config)
        with _undisturbed(seed), _limited(BUDGET):
            twin: nn.Module = model_class._from_config(small)
    except FAILURES as error:
        name = getattr(model_class, "__name__", str(model_class))
        reason = (str(error).strip().splitlines() or ["no message"])[0][:200]
        raise AnatomyError(
            f"no small twin of {name} can be built ({type(error).__name__}: {reason}) from {_sizes(small)}",
            hint="The class couples sizes in a way that SABER does not know; report it with the sizes above.",
        ) from error
    twin = twin.float().eval()
    randomise(twin, seed)
    return twin


def twin_inputs(twin: nn.Module) -> dict[str, Any]:
    """A short text of ordinary tokens, batch 1, as keyword arguments of the twin's `forward`."""
    model: Any = twin
    special = {value for node in nodes(model.config) for value in _token_ids(vars(node))}
    size = model.get_input_embeddings().weight.shape[0]
    free = [token for token in range(LOW_IDS, size) if token not in special]
    inputs: dict[str, Any] = {"input_ids": torch.tensor([free[:TOKENS]])}
    accepted = inspect.signature(model.forward).parameters.values()
    if any(p.name == "use_cache" or p.kind is p.VAR_KEYWORD for p in accepted):
        inputs["use_cache"] = False
    return inputs


def _token_ids(values: dict[str, Any]) -> Iterator[int]:
    for key, value in values.items():
        if rule_of(key).mode == "tokens" and value is not None:
            yield from value if isinstance(value, list | tuple) else (value,)


class _MarkedMemory(TorchFunctionMode):
    """Makes memory that a class leaves uninitialised read as NaN, so that `randomise` finds it.

    Tensors beyond the budget are left alone: they cost no memory before they are written, and `_limited` refuses them.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function; fill what `torch.empty` returns."""
        made = func(*args, **(kwargs or {}))
        if func is torch.empty and made.is_floating_point() and made.numel() <= BUDGET:
            made.fill_(torch.nan)
        return made


@contextmanager
def _undisturbed(seed: int) -> Iterator[None]:
    """Seed construction, on the CPU and without a trace outside."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), _MarkedMemory():
        torch.default_generator.manual_seed(seed)
        try:
            logging.set_verbosity_error()
            yield
        finally:
            logging.set_verbosity(verbosity)


@contextmanager
def _limited(budget: int) -> Iterator[None]:
    """Stop construction at the first tensor beyond the budget, before it is filled."""
    entries = 0

    def count(module: nn.Module, name: str, tensor: torch.Tensor | None) -> None:
        nonlocal entries
        entries += 0 if tensor is None else tensor.numel()
        if entries > budget:
            shape = () if tensor is None else tuple(tensor.shape)
            raise ValueError(f"{name} {shape} of {type(module).__name__} passes {budget:,} entries in all")

    with ExitStack() as hooks:
        for register in (
            torch_module.register_module_parameter_registration_hook,
            torch_module.register_module_buffer_registration_hook,
        ):
            hooks.callback(register(count).remove)
        yield


def _sizes(config: Any) -> str:
    """The integers of a config, of the part that has most of them: the decoder."""
    if config is None:
        return "a config that cannot be shrunk"
    lists = [
        [f"{key}={value}" for key, value in vars(node).items() if type(value) is int]
        for node in nodes(config)
    ]
    return ", ".join(sorted(lists, key=len)[-1])[:800]
