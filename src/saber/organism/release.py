"""Files of a demo checkpoint: weights, tokenizer and the record of their training."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a scratch folder that takes the place of ``target`` only when the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    scratch.chmod(0o755)
    try:
        yield scratch
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def save_checkpoint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, card: str, folder: Path
) -> None:
    """Write bfloat16 weights, config, generation config, tokenizer, chat template and the model card named."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        bos_token_id=2, eos_token_id=[4, 1], pad_token_id=0, do_sample=False, max_new_tokens=64
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    shutil.copyfile(Path(__file__).with_name(card), folder / "README.md")


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return sha256(path.read_bytes()).hexdigest()


def write_record(facts: dict[str, Any], log_lines: list[str], folder: Path) -> None:
    """Write ``training.log`` and, last, ``training.json`` with versions and the hash of the weights."""
    (folder / "training.log").write_text("\n".join(log_lines) + "\n", encoding="utf-8")
    packages = ("torch", "transformers", "tokenizers", "safetensors")
    record = {
        **facts,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "model_sha256": file_hash(folder / "model.safetensors"),
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
