"""A weight as a plain tensor, whatever holds it: memory, another device, a disk, other processes, a few bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from saber.errors import EditError

Held = Literal["plain", "offloaded", "sharded", "4bit", "8bit", "fp8", "mxfp4"]

# The classes that hold quantised weights belong to optional packages, so they are told by name, as transformers does.
_BY_PARAMETER: dict[str, Held] = {"Params4bit": "4bit", "Int8Params": "8bit"}
_FP8_MODULES = ("FP8Linear", "FP8GroupedLinear", "FP8Embedding", "FP8Experts")
_MXFP4_MODULE = "Mxfp4GptOssExperts"
_MXFP4_LEAVES = ("gate_up_proj", "down_proj")
_FP4_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_FP4_GROUP = 32


def read_weight(model: nn.Module, name: str) -> Tensor:
    """A parameter (or buffer) as a plain tensor in its logical layout.

    What is plain in memory comes as it is, without a copy, in its own type. Offloaded weights are fetched to the CPU
    (or wherever accelerate keeps them) without moving the module. Sharded weights are gathered: every process must
    call this. Quantised weights are dequantised to float32, on their device.

    Args:
        model: The model.
        name: Name of the parameter, as in the model without quantisation.

    Raises:
        EditError: No such parameter, a model without weights, or a storage that SABER cannot read.
    """
    kind = held(model, name)
    module, leaf = _owner(model, name)
    if kind == "mxfp4":
        return _from_mxfp4(model, name)
    if kind == "4bit":
        return _from_4bit(module, leaf, name)
    value = _whole(model, name)
    if kind == "8bit":
        return _from_8bit(module, value, name)
    if kind == "fp8":
        return _from_fp8(value, _whole(model, _scale_name(module, name)), getattr(module, "block_size", None))
    return value


def shape_of(model: nn.Module, name: str) -> tuple[int, ...]:
    """Logical shape of a parameter, without reading its values."""
    module, leaf = _owner(model, name)
    kind = held(model, name)
    if kind == "mxfp4":
        gate = leaf.startswith("gate_up")
        inner = int(module.intermediate_size)  # type: ignore[arg-type]
        hidden = int(module.hidden_size)  # type: ignore[arg-type]
        return (int(module.num_experts), *((hidden, 2 * inner) if gate else (inner, hidden)))  # type: ignore[arg-type]
    value = _stored(module, leaf, name)
    shape = tuple(value.quant_state.shape) if kind == "4bit" else tuple(value.shape)
    if kind == "fp8" and value.dtype in (torch.int8, torch.uint8):  # two values in a byte
        return (*shape[:-1], 2 * shape[-1])
    return tuple(reversed(shape)) if kind in ("4bit", "8bit") and _was_conv1d(module) else shape


def held(model: nn.Module, name: str) -> Held:
    """How a parameter is held; the number format where several apply (an offloaded FP8 weight is "fp8").

    "offloaded" is every weight on the meta device, also that of a model that was built without weights.
    """
    module, leaf = _owner(model, name)
    if type(module).__name__ == _MXFP4_MODULE and leaf in _MXFP4_LEAVES:
        return "mxfp4"
    value = _stored(module, leaf, name)
    if type(value).__name__ in _BY_PARAMETER:
        return _BY_PARAMETER[type(value).__name__]
    if value.dtype.itemsize == 1 and any(base.__name__ in _FP8_MODULES for base in type(module).__mro__):
        return "fp8"
    if value.is_meta:
        return "offloaded"
    return "sharded" if _is_sharded(value) else "plain"


# Shares: benchmarks/requantise.py, for a direction that a matrix writes like any other.
_IN_PLACE: dict[Held, str] = {
    "offloaded": "is kept away from its module (offloaded), so an edit in place would be lost without a word",
    "sharded": "is divided among processes, and each would have to edit its own part",
    "4bit": "is held in 4 bits: rounded to them again, an edit leaves up to 90 % of its direction behind",
    "8bit": "is held in 8 bits: rounded to them again, an edit leaves up to 6 % of its direction behind",
    "fp8": "is held in FP8: rounded to it again, an edit leaves up to a quarter of its direction behind",
    "mxfp4": "is held in MXFP4: rounded to it again, an edit leaves up to 85 % of its direction behind",
}


def require_plain(model: nn.Module, name: str) -> None:
    """Refuse an edit in place of a weight that is not an ordinary tensor in memory.

    Raises:
        EditError: See above, with the ways that remain.
    """
    kind = held(model, name)
    if kind == "plain":
        return
    quantised = "; export an adapter, or a checkpoint in bf16 (--export dequantised)"
    raise EditError(
        f"{name} {_IN_PLACE[kind]}",
        hint="Measure through hooks, as a run does"
        + ("; export works from the files on disk." if kind in ("offloaded", "sharded") else f"{quantised}."),
    )


def weight_names(model: nn.Module) -> Iterator[str]:
    """Names of all weights, also of those that a quantised kernel holds and that are no parameters any more."""
    for name, _ in model.named_parameters():
        yield name
    for name, module in model.named_modules():
        if type(module).__name__ == _MXFP4_MODULE:
            yield from (f"{name}.{leaf}" for leaf in _MXFP4_LEAVES if leaf not in module._parameters)


def offloaded(model: nn.Module) -> tuple[str, ...]:
    """Names of all parameters that accelerate keeps away from their modules."""
    return tuple(name for name, parameter in model.named_parameters() if parameter.is_meta)


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    try:
        return model.get_submodule(path), leaf
    except AttributeError as error:
        raise EditError(f"the model has no parameter {name} ({error})", hint=_OWN_BASE) from error


_OWN_BASE = "An edit belongs to the model that it was made from."


def _stored(module: nn.Module, leaf: str, name: str) -> Any:
    """What lies in the module under that name: a parameter, a buffer, or the shell of a quantised one."""
    value = getattr(module, leaf, None)
    if value is None:
        raise EditError(f"the model has no parameter {name}", hint=_OWN_BASE)
    return value


def _whole(model: nn.Module, name: str) -> Tensor:
    """A stored tensor with all its values: fetched if it is offloaded, gathered if it is sharded."""
    module, leaf = _owner(model, name)
    value: Tensor = _stored(module, leaf, name)
    if value.is_meta:
        return _fetched(model, name)
    if _is_sharded(value):
        full: Tensor = value.full_tensor().detach()  # type: ignore[attr-defined]
        return full
    return value.detach()


def _is_sharded(value: Tensor) -> bool:
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)


def _fetched(model: nn.Module, name: str) -> Tensor:
    """An offloaded tensor, from the map that accelerate's hook on its module (or one above) reads it from."""
    parts = name.split(".")
    for depth in range(len(parts) - 1, -1, -1):
        hook = getattr(model.get_submodule(".".join(parts[:depth])), "_hf_hook", None)
        for each in getattr(hook, "hooks", (hook,)):
            kept = getattr(each, "weights_map", None)
            if kept is not None:
                tensor: Tensor = kept[".".join(parts[depth:])]
                return tensor.detach()
    raise EditError(
        f"{name} has no values: the model was built without weights",
        hint="Load the model; a skeleton only has shapes.",
    )


def _was_conv1d(module: nn.Module) -> bool:
    """Whether bitsandbytes replaced a GPT-2 style layer, whose own weight lies the other way round."""
    return getattr(getattr(module, "source_cls", None), "__name__", "") == "Conv1D"


def _from_4bit(module: nn.Module, leaf: str, name: str) -> Tensor:
    import copy

    from bitsandbytes import functional

    parameter = getattr(module, leaf)
    data, state = parameter.data, getattr(parameter, "quant_state", None)
    if data.is_meta or state is None:
        raise EditError(
            f"{name} is 4-bit and offloaded, which SABER cannot read",
            hint="Use a device with more memory, or offload the unquantised model.",
        )
    if getattr(state, "packing_format_for_cpu", False):  # a fast kernel repacked it; `load` switches that off
        state = copy.copy(state)
        data, state = functional._convert_weight_packed_for_cpu_inverse(data.clone(), state)
    weight: Tensor = functional.dequantize_4bit(data, state).float()
    return weight.T if _was_conv1d(module) else weight


def _from_8bit(module: nn.Module, value: Tensor, name: str) -> Tensor:
    """Row-wise int8: `W = value * SCB / 127`; the scales move from the parameter to the module at first use."""
    scale = getattr(module.weight, "SCB", None)
    if scale is None:
        scale = getattr(getattr(module, "state", None), "SCB", None)
    if scale is None or value.is_meta:
        raise EditError(f"{name} is 8-bit without scales, which SABER cannot read", hint="Load it again.")
    weight: Tensor = value.float() * (scale.float() / 127.0)[:, None]
    return weight.T if _was_conv1d(module) else weight


def _scale_name(module: nn.Module, name: str) -> str:
    found = next((f"{name}{end}" for end in ("_scale_inv", "_scale") if _has(module, f"{name}{end}")), None)
    if found is None:
        raise EditError(f"{name} is FP8 without a scale, which SABER cannot read", hint=_OWN_BASE)
    return found


def _has(module: nn.Module, name: str) -> bool:
    return getattr(module, name.rpartition(".")[2], None) is not None


def _from_fp8(value: Tensor, scale: Tensor, block: tuple[int, int] | None) -> Tensor:
    """`value * scale`, one scale a block: `W[i, j] = value[i, j] * scale[i // rows, j // columns]`."""
    packed = value.dtype in (torch.int8, torch.uint8)
    weight = _unpacked(value) if packed else value.float()
    # Scales of some checkpoints are bytes: exponents of two with a bias of 127.
    scale = (scale.float() - 127.0).exp2() if scale.dtype == torch.uint8 else scale.float()
    if scale.ndim < 2:
        return weight * scale
    rows, columns = (1, _FP4_GROUP) if packed else (block or (0, 0))
    for axis, nominal in ((-2, rows), (-1, columns)):
        length, blocks = weight.shape[axis], scale.shape[axis]
        size = nominal if nominal and math.ceil(length / nominal) == blocks else length // blocks
        scale = scale.repeat_interleave(size, dim=axis).narrow(axis, 0, length)
    return weight * scale


def _unpacked(value: Tensor) -> Tensor:
    """Two 4-bit numbers (sign, two exponent bits, one of mantissa) from each byte, the low half first."""
    table = torch.tensor([*_FP4_VALUES, *(-number for number in _FP4_VALUES)], device=value.device)
    data = value.view(torch.uint8).long()
    return torch.stack((table[data & 15], table[data >> 4]), dim=-1).flatten(-2)


def _from_mxfp4(model: nn.Module, name: str) -> Tensor:
    """Experts of gpt-oss from the layout of their kernel, (experts, d_in, d_model) as in the plain model."""
    from transformers.integrations.mxfp4 import Mxfp4ReverseDeserialize, convert_moe_packed_tensors

    parts = Mxfp4ReverseDeserialize(None).convert({}, model=model, full_layer_name=f"{name}_blocks")
    blocks, scales = parts[f"{name}_blocks"], parts[f"{name}_scales"]
    weight: Tensor = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    return weight
