"""Calls any decoder: every class gets the arguments that it takes, no class one that it does not."""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakKeyDictionary

from jaxtyping import Int
from torch import Tensor, nn

_GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_new_tokens": None,
    "min_length": 0,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "bad_words_ids": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    # Checkpoints of a training run carry `use_cache: false`, which only makes answers slow.
    "use_cache": True,
}
"""Plain argmax: a checkpoint's generation config (Qwen ships a repetition penalty) would change what is measured."""


_known: WeakKeyDictionary[nn.Module, frozenset[str]] = WeakKeyDictionary()
"""Arguments that each model takes: looking them up costs more than a small batch's bookkeeping."""


def positions(mask: Int[Tensor, "rows tokens"]) -> Int[Tensor, "rows tokens"]:
    """Position of each token, counted without the padding."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def call(
    module: nn.Module, ids: Int[Tensor, "rows tokens"], mask: Int[Tensor, "rows tokens"], *, keep: int = 0
) -> Any:
    """Run a model, or its decoder alone, without a cache.

    With `keep`, some families (Gemma 4) let their last blocks see only the kept positions: a hook there must count
    from the end.

    Args:
        module: A causal language model or the module that runs its blocks.
        ids: Token ids, padded on the left.
        mask: 1 where a token stands.
        keep: Positions to unembed, counted from the end; 0 for all. Classes without that option unembed all.

    Returns:
        What the module puts out.
    """
    given: dict[str, Any] = {
        "attention_mask": mask,
        "position_ids": positions(mask),
        "use_cache": False,
        "logits_to_keep": keep,
    }
    if module not in _known:
        _known[module] = accepted(*_classes(module))
    return module(input_ids=ids, **{name: value for name, value in given.items() if name in _known[module]})


def continue_greedily(
    model: Any,
    ids: Int[Tensor, "rows tokens"],
    mask: Int[Tensor, "rows tokens"],
    *,
    max_new_tokens: int,
    pad: int,
    eos: tuple[int, ...],
    **options: Any,
) -> Any:
    """Let transformers generate, greedily whatever the checkpoint prefers; what it returns starts with the prompts."""
    return model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        **_GREEDY,
        pad_token_id=pad,
        eos_token_id=list(eos) or None,
        **options,
    )


def accepted(outer: Any, *inside: Any) -> frozenset[str]:
    """Names of the arguments that reach a model.

    A class takes what its forward names. Where that ends in `**kwargs`, what a class inside names reaches it too
    (Granite and many multimodal classes hand `use_cache` on). What nobody names is left out: some classes (Mamba and
    Bloom, given positions) would swallow it, others would fail.

    Args:
        outer: Class that is called.
        inside: Classes of the modules that it hands keywords to.
    """
    parameters = inspect.signature(outer.forward).parameters.values()
    names = {parameter.name for parameter in parameters}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for each in inside:
            names |= set(inspect.signature(each.forward).parameters)
    return frozenset(names)


def _classes(module: Any) -> tuple[Any, ...]:
    """Classes of a transformers model and of the modules between it and its blocks."""
    base = getattr(module, "base_model", module)
    decoder = module.get_decoder() if hasattr(module, "get_decoder") else module
    return (type(module), *(type(each) for each in (base, decoder) if each is not module))
