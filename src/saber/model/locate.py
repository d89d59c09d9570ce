"""Where a checkpoint lies, and whether it may be loaded at all."""

from __future__ import annotations

import json
from pathlib import Path

from saber.config import ModelConfig
from saber.errors import ModelError

_DUPLICATES = ["consolidated*", "original/*", "*.gguf"]
"""Copies of the weights that transformers does not load."""


def locate(name: str, *, pickles: bool = False) -> tuple[Path, str | None]:
    """Local folder (and revision) of a model: `demo`, a folder, or `org/name[@revision]` from the Hub or its cache.

    Args:
        name: What the user typed.
        pickles: Download weights in pickle files too.

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
    return _from_hub(name, pickles)


def _from_hub(name: str, pickles: bool) -> tuple[Path, str | None]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repo, _, revision = name.partition("@")
    patterns = [
        "*.safetensors",
        "*.json",
        "*.txt",
        "*.model",
        "*.jinja",
        "*.md",
        "LICENSE*",
        "*.py",
        "tokenizer*",
        *(["pytorch_model*.bin"] if pickles else []),
    ]
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


def check_folder(folder: Path, name: str, config: ModelConfig) -> None:
    """Refuse a folder before transformers sees it.

    Raises:
        ModelError: No config, no safetensors, code of its own, or quantised weights.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{name}: no config.json in the folder, so it is not a transformers checkpoint",
            hint="Point at the folder that holds config.json and the .safetensors files.",
        )
    if not any(folder.glob("*.safetensors")) and not config.allow_pickle:
        raise ModelError(
            f"{name}: no .safetensors weights",
            hint="Convert the checkpoint to safetensors, or trust its pickle files with --set model.allow_pickle=true.",
        )
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{name}: config.json is not valid JSON ({error})", hint="Download the checkpoint again."
        ) from error
    if "auto_map" in raw and not config.trust_remote_code:
        raise ModelError(
            f"{name}: the checkpoint wants to run its own Python code",
            hint="Read that code first; then allow it with --set model.trust_remote_code=true.",
        )
    if raw.get("quantization_config"):
        method = raw["quantization_config"].get("quant_method", "unknown")
        raise ModelError(
            f"{name}: weights are quantised ({method}); an edit would not survive requantisation",
            hint="Use the unquantised (bf16) checkpoint.",
        )
