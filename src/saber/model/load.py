"""From a Hub id, a folder or `demo` to a chat model that is ready to be asked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from saber.config import ModelConfig
from saber.errors import ModelError
from saber.model.locate import check_folder, locate
from saber.prompts.render import render

_SMALL = 1 << 30
"""Checkpoints below this many bytes are held in float32 on a CPU: faster there than bf16, and exact."""


@dataclass(frozen=True)
class ChatModel:
    """A loaded base model with its tokenizer.

    Attributes:
        model: The transformers model, in eval mode, no gradients.
        tokenizer: Its tokenizer, left padding.
        name: What the user typed.
        folder: Local folder of the checkpoint.
        revision: Commit of a Hub model; None for local folders.
        dtype: Type of the weights in memory.
        batch_size: Prompts per forward pass.
        system: System message, or None.
        config: How it was loaded.
        eos: Ids that end an answer.
    """

    model: Any
    tokenizer: Any
    name: str
    folder: Path
    revision: str | None
    dtype: torch.dtype
    batch_size: int
    system: str | None = None
    eos: tuple[int, ...] = field(default=())
    config: ModelConfig = field(default_factory=ModelConfig)

    @cached_property
    def rendered(self) -> str:
        """A short prompt as the template renders it, up to where the answer starts."""
        return render(self.tokenizer, ["Name a colour."], system=self.system)[0]

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the input embeddings."""
        device: torch.device = self.model.get_input_embeddings().weight.device
        return device


def load(name: str, config: ModelConfig, *, system: str | None = None) -> ChatModel:
    """Load a chat model.

    Raises:
        ModelError: Not found, no chat template, no safetensors, corrupt or incomplete weights, remote code needed.
    """
    folder, revision = locate(name, pickles=config.allow_pickle)
    check_folder(folder, name, config)
    tokenizer = _load_tokenizer(folder, name, config)
    dtype = _dtype(folder, config)
    model = _load_weights(folder, name, config, dtype)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    batch = 64 if config.batch_size == "auto" else config.batch_size
    return ChatModel(
        model=model,
        tokenizer=tokenizer,
        name=name,
        folder=folder,
        revision=revision,
        dtype=dtype,
        batch_size=batch,
        system=system or None,
        eos=_end_ids(model, tokenizer),
        config=config,
    )


def skeleton(folder: Path, name: str, config: ModelConfig) -> Any:
    """The model of a checkpoint without memory for weights: enough for its anatomy.

    Raises:
        ModelError: Not a checkpoint that transformers knows.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    check_folder(folder, name, config)
    try:
        loaded = AutoConfig.from_pretrained(
            folder, trust_remote_code=config.trust_remote_code, local_files_only=True
        )
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(loaded, trust_remote_code=config.trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{name}: transformers cannot build the model ({_first_line(error)})",
            hint="SABER needs a decoder-only chat model of a transformers release that is installed.",
        ) from error


def _load_tokenizer(folder: Path, name: str, config: ModelConfig) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=config.trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{name}: no usable tokenizer ({error})", hint="The folder needs tokenizer.json."
        ) from error
    if not tokenizer.chat_template:
        raise ModelError(
            f"{name} is not a chat model: its tokenizer has no chat template",
            hint="Use the instruction-tuned variant (often named -it, -Instruct or -Chat).",
        )
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _dtype(folder: Path, config: ModelConfig) -> torch.dtype:
    if config.dtype != "auto":
        chosen: torch.dtype = getattr(torch, config.dtype)
        return chosen
    from transformers import AutoConfig

    weights = [*folder.glob("*.safetensors"), *(folder.glob("*.bin") if config.allow_pickle else ())]
    size = sum(file.stat().st_size for file in weights)
    on_cpu = config.device == "cpu" or not torch.cuda.is_available()
    if on_cpu and size < _SMALL:
        return torch.float32
    loaded = AutoConfig.from_pretrained(folder, trust_remote_code=config.trust_remote_code)
    dtype = loaded.dtype or loaded.get_text_config().dtype or torch.float32
    return getattr(torch, dtype) if isinstance(dtype, str) else dtype


def _load_weights(folder: Path, name: str, config: ModelConfig, dtype: torch.dtype) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    device_map = "auto" if config.device == "auto" and torch.cuda.is_available() else config.device
    placement = (
        {} if device_map in ("auto", "cpu") and not torch.cuda.is_available() else {"device_map": device_map}
    )
    _check_device(config.device)
    try:
        with _quiet_transformers():
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                trust_remote_code=config.trust_remote_code,
                use_safetensors=None if config.allow_pickle else True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported and refused below, with names
                local_files_only=True,
                **placement,
            )
    except SafetensorError as error:
        raise ModelError(
            f"{name}: a safetensors shard is corrupt ({error})",
            hint="Download the checkpoint again, or compare its files' hashes with the original's.",
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"{name}: transformers cannot load it ({_first_line(error)})",
            hint="SABER needs a decoder-only chat model of a transformers release that is installed.",
        ) from error
    _check_report(report, name)
    _check_placed(model, name)
    return model.eval()


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without transformers' own bars and warnings: what matters of them is in the loading report."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _check_device(device: str) -> None:
    if device in ("auto", "cpu"):
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"device {device!r} is not usable ({_first_line(error)})",
            hint="Use --device auto or --device cpu.",
        ) from error


def _check_report(report: Any, name: str) -> None:
    """Refuse a model that was only partly filled from disk: transformers itself merely warns."""
    missing = sorted(report.get("missing_keys", ()))
    mismatched = [str(item[0]) for item in report.get("mismatched_keys", ())]
    if missing or mismatched:
        listed = ", ".join((missing + mismatched)[:4])
        raise ModelError(
            f"{name}: {len(missing)} tensors are missing and {len(mismatched)} have other shapes than the config "
            f"says ({listed}), so part of the model would be random",
            hint="The checkpoint is incomplete or its config belongs to another model.",
        )


def _check_placed(model: Any, name: str) -> None:
    """Refuse weights that accelerate keeps elsewhere: an edit of them would silently be lost."""
    away = [key for key, parameter in model.named_parameters() if parameter.is_meta]
    if away:
        raise ModelError(
            f"{name}: {len(away)} tensors do not fit on the device and were offloaded, first {away[0]}",
            hint="Use more memory, a smaller --dtype, or --device cpu.",
        )


def _end_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    ids: list[int] = []
    declared = getattr(model.generation_config, "eos_token_id", None)
    for value in (declared, model.config.get_text_config().eos_token_id, tokenizer.eos_token_id):
        ids += [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(int(i) for i in ids))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
