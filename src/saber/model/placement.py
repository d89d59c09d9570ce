"""Where the weights go: one device, several, memory beside them, the disk, or several processes."""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any

import torch

from saber.config import ModelConfig
from saber.errors import ModelError
from saber.model.weights import offloaded


def placement(config: ModelConfig, name: str) -> dict[str, Any]:
    """Arguments of `from_pretrained` that place the weights.

    Raises:
        ModelError: A device that cannot be used, or settings that exclude each other.
    """
    if config.tensor_parallel:
        return _tensor_parallel(config, name)
    _check_device(config.device)
    if config.device != "auto" and (config.offload != "refuse" or config.max_memory):
        key = "offload" if config.offload != "refuse" else "max_memory"
        raise ModelError(
            f"model.{key} says where weights go that do not fit, and --device {config.device} says where all go",
            hint=f"Use --device auto, or leave out model.{key}.",
        )
    divided = torch.cuda.is_available() or config.offload == "disk" or config.max_memory
    if config.device == "cpu" or (config.device == "auto" and not divided):
        return {}
    arguments: dict[str, Any] = {"device_map": config.device}
    if config.max_memory:
        arguments["max_memory"] = dict(_limit(text) for text in config.max_memory)
    if config.offload == "disk":
        # Weights that lie on disk as the model wants them are read from the checkpoint; others (merged experts) are
        # written here. TMPDIR chooses the disk.
        arguments["offload_folder"] = tempfile.mkdtemp(prefix="saber-offload-")
    return arguments


def settle_placement(model: Any, name: str, config: ModelConfig, arguments: dict[str, Any]) -> str:
    """Check where the weights have gone, against what the user allowed.

    Returns:
        A sentence about it; empty where all weights are on the devices that compute.

    Raises:
        ModelError: Weights are kept away from the device, further away than `model.offload` allows.
    """
    folder = arguments.get("offload_folder")
    if folder:
        weakref.finalize(model, _remove, folder)
    if config.tensor_parallel:
        _check_divides(model, name)
        return f"weights are divided among {world()} processes"
    away = offloaded(model)
    if not away:
        return ""
    on_disk = sum(place == "disk" for place in getattr(model, "hf_device_map", {}).values())
    if config.offload == "refuse" or (config.offload == "cpu" and on_disk):
        where = "the disk" if on_disk else "the CPU's memory"
        raise ModelError(
            f"{name}: {len(away)} tensors do not fit on the device and would be kept on {where}, first {away[0]}",
            hint="Use more memory, a smaller --dtype, --device cpu, --set model.quantise=4bit, or allow it with "
            f"--set model.offload={'disk' if on_disk else 'cpu'}.",
        )
    where = "on the disk or in the CPU's memory" if on_disk else "in the CPU's memory"
    return f"{len(away)} tensors are kept {where} and fetched for every pass: this is slow"


def execution_device(model: Any) -> torch.device:
    """Where inputs go: the device of the input embeddings, or the one that accelerate runs them on."""
    module = model.get_input_embeddings()
    device: torch.device = module.weight.device
    if device.type != "meta":
        return device
    hook = getattr(module, "_hf_hook", None)
    return torch.device(getattr(hook, "execution_device", None) or "cpu")


def rank() -> int:
    """Number of this process among those that torchrun started; 0 without it. Only 0 writes files."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """Number of processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _tensor_parallel(config: ModelConfig, name: str) -> dict[str, Any]:
    if "WORLD_SIZE" not in os.environ:
        raise ModelError(
            "model.tensor_parallel divides the weights among processes, and there is one",
            hint="Start SABER with torchrun: torchrun --nproc-per-node N -m saber.cli run ...",
        )
    others = [
        f"model.{key} = {value}"
        for key, value, usual in (
            ("offload", config.offload, ("refuse",)),
            ("quantise", config.quantise, ("keep",)),
            ("max_memory", config.max_memory, ((),)),
            ("device", config.device, ("auto",) if torch.cuda.is_available() else ("auto", "cpu")),
        )
        if value not in usual
    ]
    if others:
        raise ModelError(
            f"model.tensor_parallel does not go with {', '.join(others)}",
            hint="Every process has a device of its own, and the weights must fit on all of them together.",
        )
    from transformers.distributed import DistributedConfig

    return {"distributed_config": DistributedConfig(tp_plan="auto")}


def _check_divides(model: Any, name: str) -> None:
    """One token through the model: a plan that does not divide it (too few key-value heads) shows only then."""
    try:
        with torch.no_grad():
            model(torch.zeros(1, 1, dtype=torch.long, device=execution_device(model)), use_cache=False)
    except RuntimeError as error:
        raise ModelError(
            f"{name} does not divide among {world()} processes ({str(error).strip().splitlines()[0][:120]})",
            hint="Its key-value heads must be a multiple of the processes: use fewer, or --device auto.",
        ) from error


def _check_device(device: str) -> None:
    if device in ("auto", "cpu"):
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"device {device!r} is not usable ({first})", hint="Use --device auto or --device cpu."
        ) from error


def _limit(text: str) -> tuple[int | str, str]:
    device, _, size = text.partition("=")
    return (int(device) if device.isdigit() else device), size


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
