"""A model that is divided among processes gives the numbers of a whole one, before and after an edit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from saber.config import ModelConfig
from saber.errors import ModelError
from saber.model.load import load
from tests import pico
from tests.model import by_hand

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes found, that gloo connects; what they said where they failed."""
    root = tmp_path_factory.mktemp("divided")
    pico.save("llama", root / "0_llama")
    by_hand.save(by_hand.tiny("qwen3_moe"), root / "0_experts")
    single = transformers.LlamaConfig(**{**pico.COMMON, "num_key_value_heads": 1})
    by_hand.save(transformers.LlamaForCausalLM(single), root / "1_one_head")
    by_hand.save(biased(), root / "2_biased")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *command, "-m", "tests.model.sharded", str(root)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    return {**dict(json.loads(line.removeprefix("FOUND ")) for line in lines), "stderr": done.stderr}


def biased() -> Any:
    """A Llama whose writers have biases, which every process holds whole."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**{**pico.COMMON, "attention_bias": True, "mlp_bias": True})
    model = transformers.LlamaForCausalLM(config)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape) * 0.05)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("model", ["llama", "experts", "biased"])
def test_divided_equals_whole(model: str, found: dict[str, Any]) -> None:
    assert model in found, found["stderr"][-3000:]
    seen = found[model]
    writers = ("o_proj.weight", "down_proj.weight", "experts.down_proj")
    assert sum(name.endswith(writers) for name in seen["sharded"]) in (4, 8)
    assert seen["read"]
    assert seen["same edit"]
    assert seen["base"] < 1e-5
    assert seen["edited"] < 1e-5
    assert seen["change"] > 1e-2
    assert seen["same answer"]
    assert "divided among processes" in seen["in place"]
    assert seen["notes"] == ["weights are divided among 2 processes"]


@pytest.mark.slow
def test_too_few_heads(found: dict[str, Any]) -> None:
    assert "does not divide among 2 processes" in found["one_head"], found["stderr"][-3000:]
    assert "key-value heads" in found["one_head"]


def test_one_process_divides_nothing(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ModelError, match="there is one") as caught:
        load(str(checkpoints["llama"]), ModelConfig(tensor_parallel=True))
    assert "torchrun" in caught.value.hint


@pytest.mark.parametrize("other", [{"offload": "cpu"}, {"quantise": "4bit"}, {"max_memory": ("cpu=1GB",)}])
def test_what_does_not_go_with_it(
    other: dict[str, Any], checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModelError, match=next(iter(other))):
        load(str(checkpoints["llama"]), ModelConfig(tensor_parallel=True, **other))
