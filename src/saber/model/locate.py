"""Where a checkpoint lies, and whether it may be loaded at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from saber.config import ModelConfig
from saber.errors import ModelError
from saber.model.kind import check_kind
from saber.model.quantised import check_quantised

_DUPLICATES = ["consolidated*", "original/*", "*.gguf"]
"""Copies of the weights that transformers does not load."""
_AROUND = ["*.json", "*.txt", "*.model", "*.jinja", "*.md", "LICENSE*", "*.py", "tokenizer*"]
"""What a checkpoint holds beside its weights."""


def locate(name: str, *, pickles: bool = False, weights: bool = True) -> tuple[Path, str | None]:
    """Local folder (and revision) of a model: `demo`, a folder, or `org/name[@revision]` from the Hub or its cache.

    Args:
        name: What the user typed.
        pickles: Download weights in pickle files too.
        weights: Download weights at all; a config is enough to say what a model is made of.

    Raises:
        ModelError: There is no such model.
    """
    if name == "demo":
        from saber.organism import demo_path

        return demo_path(), None
    path = Path(name).expanduser()
    if path.is_dir():
        return path, None
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"model not found: {name!r} is not a folder",
            hint="Give a local model folder, a Hub id such as org/name[@revision], or `demo`.",
        )
    wanted = [
        *(["*.safetensors"] if weights else []),
        *(["pytorch_model*.bin"] if pickles and weights else []),
    ]
    return _from_hub(name, [*wanted, *_AROUND])


def _from_hub(name: str, patterns: list[str]) -> tuple[Path, str | None]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repo, _, revision = name.partition("@")
    try:
        folder = Path(
            snapshot_download(
                repo, revision=revision or None, allow_patterns=patterns, ignore_patterns=_DUPLICATES
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelError(
            f"model not found: {name!r} is neither a folder nor available from the Hub ({type(error).__name__})",
            hint="Check the name and revision, log in for gated models (`hf auth login`), or give a local folder.",
        ) from error
    return folder, folder.name


def check_folder(folder: Path, name: str, config: ModelConfig, *, weights: bool = True) -> dict[str, Any]:
    """Refuse a folder before transformers sees it.

    Args:
        folder: The checkpoint.
        name: What the user typed.
        config: How it is to be loaded.
        weights: Whether its weights are needed; a config is enough for a model without memory.

    Returns:
        The contents of its config.json.

    Raises:
        ModelError: No config, no safetensors, not a decoder that answers, code of its own, or weights that are
            quantised in a way that SABER cannot read.
    """
    raw = _config(folder, name)
    if weights and not any(folder.glob("*.safetensors")) and not config.allow_pickle:
        raise ModelError(
            f"{name}: no .safetensors weights",
            hint="Convert the checkpoint to safetensors, or trust its pickle files with --set model.allow_pickle=true.",
        )
    check_kind(raw, name, config)
    if weights:
        check_quantised(raw, name, config)
    return raw


def _config(folder: Path, name: str) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{name}: no config.json in the folder, so it is not a transformers checkpoint",
            hint="Point at the folder that holds config.json and the .safetensors files.",
        )
    try:
        raw: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{name}: config.json is not valid JSON ({error})", hint="Download the checkpoint again."
        ) from error
    return raw
