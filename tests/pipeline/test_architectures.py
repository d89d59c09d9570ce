"""The whole job on many architectures: hooks, edits in place, reloaded checkpoint and adapter are one edit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipeline.architectures import NAMED, run
from tests.zoo import ZOO

_FAST = ("qwen3_moe", "gpt_oss", "gemma4_mm")
"""In every test run: fused experts, biases with experts laid out the other way, towers."""


@pytest.mark.parametrize(
    "name",
    [n if n in _FAST else pytest.param(n, marks=pytest.mark.slow) for n in (*NAMED, "gpt2", "gemma3n")],
)
def test_every_way_to_the_edited_model_is_the_same(name: str, tmp_path: Path) -> None:
    found = run(name, tmp_path)
    assert found.checkpoint.scale > 1e-3
    assert found.checkpoint.in_place <= 1e-5
    assert found.checkpoint.hooks <= 1e-4
    assert found.undone
    assert found.verified
    has_bias = "bias" in found.forms or "expert_bias" in found.forms
    assert (found.adapter is None) == has_bias == bool(found.refused)
    if found.adapter is not None:
        assert found.adapter.in_place <= 1e-4
    known = ZOO[name]
    assert ("experts" in found.forms) == ("[experts" in known.writers)


def test_without_biases_an_adapter_carries_the_edit_of_a_model_that_has_them(tmp_path: Path) -> None:
    found = run("gpt_oss", tmp_path, 'ablation.writers=["attention", "experts"]')
    assert set(found.forms) == {"matrix", "experts"}
    assert found.adapter is not None
    assert found.adapter.in_place <= 1e-4
    assert found.checkpoint.hooks <= 1e-4


def test_an_edited_embedding_is_named_in_the_plan_and_the_report(tmp_path: Path) -> None:
    found = run("llama", tmp_path, 'ablation.writers=["mlp", "embedding"]')
    assert found.forms == {"embedding": 1, "matrix": 4}
    assert found.checkpoint.in_place <= 1e-5
    assert found.undone
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["writers"] == ["embedding", "mlp", "mlp", "mlp", "mlp"]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "embedding x 1; mlp x 4" in card
    assert "self_attn.o_proj.weight x 4" in card, "what was left alone"
