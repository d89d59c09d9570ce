"""One twin against its real-size model, which is built without memory; the tests and the sweep share it."""

from __future__ import annotations

import copy
import re
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from saber.model.twin import D_MODEL, build_twin, twin_inputs
from tests.model.library_defaults import SOUND
from tests.model.real_sizes import REAL


@dataclass(frozen=True)
class Checked:
    """A twin that ran.

    Attributes:
        twin: The twin.
        real: The real-size model on the meta device; None where a library that it needs is missing.
        build_seconds: Wall time of `build_twin`.
        forward_seconds: Wall time of one forward pass.
        differing: Parameter and buffer names of only one of the two, expert numbers aside.
        ambiguous: Tensors of the decoder with an axis that is as long as the stream in the twin only.
    """

    twin: nn.Module
    real: nn.Module | None
    build_seconds: float
    forward_seconds: float
    differing: tuple[str, ...]
    ambiguous: tuple[str, ...]


def real_model(name: str) -> tuple[Any, Any]:
    """The class that transformers loads for a model type or a name in `REAL`, and its config of real size."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    )

    family, entries = REAL.get(name, (name, SOUND.get(name, {})))
    config = AutoConfig.for_model(family, **entries)
    causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    found = (MODEL_FOR_CAUSAL_LM_MAPPING if causal else MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING)[type(config)]
    model_class = found[0] if isinstance(found, tuple | list) else found
    if model_class.config_class is config.sub_configs.get("text_config"):  # as AutoModelForCausalLM does
        config = config.get_text_config()
    return model_class, config


def check(name: str) -> Checked:
    """Build the twin of a model type or of a name in `REAL`, run it, and compare it with the real-size model."""
    model_class, config = real_model(name)
    before = str(config)
    started = time.perf_counter()
    twin = build_twin(model_class, config)
    built = time.perf_counter()
    with torch.no_grad():
        output = twin(**twin_inputs(twin))
    ran = time.perf_counter()
    values = output.logits if hasattr(output, "logits") else output[0]
    if not bool(values.isfinite().all()):
        raise ArithmeticError("the twin's output is not finite")
    if str(config) != before:
        raise AssertionError("shrinking changed the real config")
    real = _on_meta(model_class, config)
    differing = () if real is None else tuple(sorted(_names(twin) ^ _names(real)))
    ambiguous = () if real is None else tuple(_ambiguous(twin, real, _width(config)))
    return Checked(twin, real, built - started, ran - built, differing, ambiguous)


def _on_meta(model_class: Any, config: Any) -> nn.Module | None:
    config = copy.deepcopy(config)
    config.__dict__.pop("quantization_config", None)
    try:
        with torch.device("meta"):
            real: nn.Module = model_class._from_config(config)
    except ImportError:  # towers from timm, which SABER does not need
        return None
    return real


def _names(model: nn.Module) -> set[str]:
    return {re.sub(r"(expert\w*)\.\d+\.", r"\1.N.", name) for name in model.state_dict()}


def _width(config: Any) -> int | None:
    text = config.get_text_config(decoder=True)
    names = ("hidden_size", "d_model", "n_embd", "dim_model", "embed_dim", "emb_dim")
    return next((int(getattr(text, name)) for name in names if hasattr(text, name)), None)


def _ambiguous(twin: Any, real: nn.Module, width: int | None) -> list[str]:
    sizes = dict(real.named_parameters()) if width is not None else {}
    inside = {id(parameter) for parameter in twin.get_decoder().parameters()}
    found = []
    for name, parameter in twin.named_parameters():
        if id(parameter) not in inside:
            continue
        shape = sizes[name].shape if name in sizes else parameter.shape
        pairs = zip(parameter.shape, shape, strict=True)
        if name in sizes and any(small == D_MODEL and large != width for small, large in pairs):
            found.append(name)
    return found
