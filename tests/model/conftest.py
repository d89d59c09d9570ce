"""Checkpoints that are quantised on disk, and what they were made from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from saber.config import ModelConfig
from saber.model.load import load
from tests import pico
from tests.model import by_hand


@pytest.fixture(scope="session")
def masters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Unquantised bf16 checkpoints."""
    root = tmp_path_factory.mktemp("masters")
    made = {name: by_hand.save(by_hand.tiny(name).bfloat16(), root / name) for name in ("qwen3_moe", "gpt2")}
    made["gpt_oss"] = by_hand.save(by_hand.tiny("gpt_oss").bfloat16(), root / "gpt_oss")
    return {**made, "llama": pico.save("llama", root / "llama", dtype=torch.bfloat16)}


@pytest.fixture(scope="session")
def on_disk(masters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints that are quantised on disk."""
    root = tmp_path_factory.mktemp("quantised")
    made = {
        "fp8": by_hand.to_fp8(masters["llama"], root / "fp8")[0],
        "fp8_moe": by_hand.to_fp8(masters["qwen3_moe"], root / "fp8_moe")[0],
        "mxfp4": by_hand.to_mxfp4(masters["gpt_oss"], root / "mxfp4")[0],
    }
    for kind in ("4bit", "8bit"):
        chat = load(str(masters["llama"]), ModelConfig(device="cpu", quantise=kind, dtype="bfloat16"))
        made[kind] = by_hand.save(chat.model, root / kind)
        (made[kind] / "README.md").write_text("# Quantised\n")
    return made
