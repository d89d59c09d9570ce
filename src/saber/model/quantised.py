"""Quantised weights: which checkpoints SABER can read, how they are loaded, and what really lies in memory."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from saber.config import ModelConfig
from saber.errors import ModelError
from saber.model.weights import held, read_weight, shape_of, weight_names

_READABLE = {"bitsandbytes": "", "fp8": "fp8", "mxfp4": "mxfp4"}
"""Methods whose weights SABER reads as plain numbers; bitsandbytes has two formats of its own."""
_FORMATS = ("4bit", "8bit", "fp8", "mxfp4")
_BNB_MISSING = "pip install 'saber-llm[quantised]' (bitsandbytes), or use the unquantised checkpoint."


@dataclass(frozen=True)
class Quantisation:
    """How a model's weights are held, on disk and in memory.

    Attributes:
        on_disk: Format on disk: none, 4bit, 8bit (both bitsandbytes), fp8, mxfp4.
        in_memory: Format of the quantised weights in memory; none where all of them are plain.
        share: Share of all weights that this format holds in memory.
        note: What follows from it, in a sentence; empty where there is nothing to say.
    """

    on_disk: str = "none"
    in_memory: str = "none"
    share: float = 0.0
    note: str = ""


def format_on_disk(raw: Mapping[str, Any]) -> str:
    """Format of a checkpoint's weights, from its config: `none`, one of SABER's formats, or the method's own name."""
    found = _declared(raw)
    if not found:
        return "none"
    method = str(found.get("quant_method", "unknown"))
    if method == "bitsandbytes" or found.get("load_in_4bit") or found.get("load_in_8bit"):
        return "4bit" if found.get("load_in_4bit") else "8bit"
    return _READABLE.get(method) or method


def check_quantised(raw: Mapping[str, Any], name: str, config: ModelConfig) -> None:
    """Refuse a quantised checkpoint that cannot be read, and a second quantisation of one that can.

    Raises:
        ModelError: See above, or bitsandbytes is needed and not installed.
    """
    found = format_on_disk(raw)
    if found not in ("none", *_FORMATS):
        raise ModelError(
            f"{name}: weights are quantised with {found}, which SABER cannot read as plain numbers",
            hint="Use the unquantised (bf16) checkpoint of the same release; quantise the edited one afterwards.",
        )
    if found != "none" and config.quantise in ("4bit", "8bit"):
        raise ModelError(
            f"{name}: weights are quantised already ({found}), so --set model.quantise={config.quantise} would "
            "round them twice",
            hint="Use --set model.quantise=keep (as it is) or none (dequantised), or the unquantised checkpoint.",
        )
    if {found, config.quantise} & {"4bit", "8bit"} and find_spec("bitsandbytes") is None:
        wanted = found if found != "none" else config.quantise
        raise ModelError(f"{name}: {wanted} weights need bitsandbytes, not installed here", hint=_BNB_MISSING)


def quantised_loading(loaded: Any, raw: Mapping[str, Any], config: ModelConfig, dtype: torch.dtype) -> Any:
    """What transformers is told of quantisation: its own config object, or None; `loaded` may change.

    Args:
        loaded: The config as transformers reads it; told to dequantise FP8 and MXFP4 where that is asked for.
        raw: Contents of config.json.
        config: How the model is to be loaded.
        dtype: Type in which the model computes.
    """
    if config.quantise in ("4bit", "8bit"):
        return bnb_config(config.quantise, dtype)
    if config.quantise == "none" and format_on_disk(raw) in ("fp8", "mxfp4"):
        loaded.quantization_config = {**_declared(raw), "dequantize": True}
    return None


def bnb_config(quantise: str, dtype: torch.dtype) -> Any:
    """The bitsandbytes settings of `model.quantise`: NF4 with plain scales, or LLM.int8 with outliers kept."""
    from transformers import BitsAndBytesConfig

    if quantise == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def settle(model: Any, raw: Mapping[str, Any], config: ModelConfig, dtype: torch.dtype) -> Quantisation:
    """Bring a freshly loaded model into a state that stays as it is, and say what it holds.

    Args:
        model: The model; weights that bitsandbytes holds become plain where `model.quantise = "none"`.
        raw: Contents of config.json.
        config: How the model was loaded.
        dtype: Type in which it computes.
    """
    on_disk = format_on_disk(raw)
    if on_disk in ("4bit", "8bit"):
        _settle_dtype(model, dtype)
        if config.quantise == "none":
            dequantise(model, dtype)
    for module in model.modules():
        # On CPUs with AVX512-BF16, bitsandbytes repacks weights at first use with coarser scales: the weights would
        # no longer be those that were read before. Slower and the same everywhere is what a measurement needs.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    in_memory, share = _census(model)
    if in_memory == "8bit":  # says at every product that it computes in float16; the note below says it once
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    return Quantisation(on_disk, in_memory, share, _note(on_disk, in_memory, share, config, dtype))


def _settle_dtype(model: Any, dtype: torch.dtype) -> None:
    """Give the other weights of a bitsandbytes checkpoint the type that was asked for: transformers leaves theirs.

    Parameters only: buffers, and what the class keeps in float32, stay as they are. The 4-bit products are computed in
    that type too, whatever the checkpoint was made for, and `read_weight` reads what they are computed from.
    """
    own = model.get_input_embeddings().weight.dtype
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            state.dtype = dtype
        elif parameter.dtype == own and parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.compute_dtype, module.compute_type_is_set = dtype, True


def dequantise(model: Any, dtype: torch.dtype) -> None:
    """Replace the modules of bitsandbytes by plain ones of their original class.

    Not `model.dequantize()`: that leaves the layers of GPT-2 and its like (Conv1D) the other way round, so that what
    is saved does not load, or loads wrongly where they are square.
    """
    for name, module in list(model.named_modules()):
        if type(module).__name__ not in ("Linear4bit", "Linear8bitLt"):
            continue
        weight = read_weight(model, f"{name}.weight").to(dtype).contiguous()
        source: Any = getattr(module, "source_cls", nn.Linear)
        sizes = (weight.shape[1], weight.shape[0])  # in and out of a linear, out and in of a Conv1D
        with torch.device("meta"):
            if source.__name__ == "Conv1D":
                plain: nn.Module = source(*sizes)
            else:
                plain = nn.Linear(*sizes, bias=module.bias is not None)
        plain.weight = nn.Parameter(weight, requires_grad=False)
        if module.bias is not None:
            plain.bias = nn.Parameter(module.bias.detach().to(dtype), requires_grad=False)
        model.set_submodule(name, plain.eval())
    model.hf_quantizer.remove_quantization_config(model)


def through(weight: Tensor, quantise: str, dtype: torch.dtype) -> Tensor:
    """A weight as it reads after bitsandbytes has quantised it: what `model.quantise` makes of it, in float32.

    Args:
        weight: A matrix (d_out x d_in), as a linear layer holds it.
        quantise: 4bit or 8bit.
        dtype: Type of the unquantised model.
    """
    from bitsandbytes import functional

    own = weight.to(dtype)
    if quantise == "8bit":
        rows, scales, _ = functional.int8_vectorwise_quant(own.to(torch.float16))
        read: Tensor = rows.float() * (scales.float() / 127.0)[:, None]
        return read
    packed, state = functional.quantize_4bit(own.contiguous(), quant_type="nf4")
    back: Tensor = functional.dequantize_4bit(packed, state)
    return back.float()


def _declared(raw: Mapping[str, Any]) -> dict[str, Any]:
    text = raw.get("text_config") or {}
    found = raw.get("quantization_config") or raw.get("compression_config") or text.get("quantization_config")
    return dict(found or {})


def _census(model: nn.Module) -> tuple[str, float]:
    """The number format that holds most quantised weights, and its share of all weights."""
    values: Counter[str] = Counter()
    for name in weight_names(model):
        values[held(model, name)] += prod(shape_of(model, name))
    quantised = {kind: count for kind, count in values.items() if kind in _FORMATS}
    if not quantised:
        return "none", 0.0
    most = max(quantised, key=lambda kind: quantised[kind])
    return most, quantised[most] / sum(values.values())


def _note(on_disk: str, in_memory: str, share: float, config: ModelConfig, dtype: torch.dtype) -> str:
    plain = str(dtype).removeprefix("torch.")
    if on_disk != "none" and in_memory == "none":
        why = (
            "as asked (model.quantise = none)"
            if config.quantise == "none"
            else "by transformers, which has no kernels for it here"
        )
        return f"weights are {on_disk} on disk; they were dequantised to {plain}, {why}"
    if in_memory == "none":
        return ""
    said = f"{100 * share:.0f} % of the weights are {in_memory} in memory, the rest is {plain}"
    if in_memory == "8bit":
        said += "; their products are computed in float16"
    if on_disk == "none":
        said += "; every number of this run is the quantised model's, the exported checkpoint is unquantised"
    return said
