"""What a report refuses to leave out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saber.errors import ReportError, StoreError
from saber.report import build_report
from tests.report.synthetic import EMPTY_RATE, evidence_of, records, wilson, write_run


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    """Deletes what lies at a path."""

    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def with_value(value: object, *path: str) -> Callable[[dict[str, Any]], None]:
    """Puts a value at a path."""

    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


MISSING = {
    "evaluation": (without("evaluation"), "evaluation is missing"),
    "base refusal": (
        without("evaluation", "base", "refusal", "harmful"),
        r"base\.refusal\.harmful is missing",
    ),
    "edited refusal": (
        without("evaluation", "edited", "refusal", "harmful"),
        r"edited\.refusal\.harmful is missing",
    ),
    "a side": (without("evaluation", "edited"), r"evaluation\.edited is missing"),
    "n": (without("evaluation", "edited", "refusal", "harmful", "n"), r"harmful\.n is missing"),
    "prompts scored": (with_value(EMPTY_RATE, "evaluation", "edited", "refusal", "harmful"), "n = 0"),
    "interval": (
        with_value(None, "evaluation", "base", "refusal", "harmful", "low"),
        "no value with an interval",
    ),
    "categories": (without("evaluation", "edited", "refusal_by_category"), "refusal_by_category is missing"),
    "harmful categories": (
        without("evaluation", "base", "refusal_by_category", "harmful"),
        r"refusal_by_category\.harmful is missing",
    ),
    "drift": (without("evaluation", "drift"), r"evaluation\.drift is missing"),
    "drift value": (with_value(EMPTY_RATE, "evaluation", "drift", "answer_kl"), "answer_kl has no value"),
    "noise floor": (without("evaluation", "drift", "noise_floor"), "noise_floor is missing"),
    "finite noise floor": (
        with_value(float("nan"), "evaluation", "drift", "noise_floor"),
        "no finite number",
    ),
    "capability": (without("evaluation", "edited", "capability"), r"edited\.capability is missing"),
    "capability categories": (
        with_value({"all": wilson(75, 100)}, "evaluation", "edited", "capability"),
        "capability has no scored category",
    ),
    "base model": (without("manifest", "model", "name"), r"model\.name is missing"),
    "blank base model": (with_value(" ", "manifest", "model", "name"), r"model\.name is missing"),
    "licence": (without("manifest", "model", "license"), r"model\.license is missing"),
    "file hashes": (with_value({}, "manifest", "model", "files"), "no file hashes"),
    "a file's hash": (
        with_value(None, "manifest", "model", "files", "config.json"),
        r"config\.json is missing",
    ),
    "seed": (without("manifest", "seed"), r"manifest\.seed is missing"),
    "prompts": (with_value({}, "manifest", "prompts"), "names no role"),
    "prompt hash": (without("manifest", "prompts", "harmful", "sha256"), r"harmful\.sha256 is missing"),
    "edit hash": (without("edit", "edit_sha256"), r"edit\.edit_sha256 is missing"),
    "certificates": (without("edit", "certificates"), r"edit\.certificates is missing"),
    "plan": (without("plan", "directions"), r"plan\.directions is missing"),
    "stopping reason": (without("plan", "refinement", "stopped"), "stopped is missing"),
    "layer profile": (without("spectrum", "layer_fdr"), "layer_fdr is missing"),
    "entanglement": (without("entanglement", "measure"), r"entanglement\.measure is missing"),
}


@pytest.mark.parametrize("name", MISSING)
def test_refuses_without(name: str) -> None:
    change, message = MISSING[name]
    data = records()
    change(data)
    with pytest.raises(ReportError, match=message) as caught:
        evidence_of(data)
    assert caught.value.hint


def test_refuses_without_settings() -> None:
    with pytest.raises(ReportError, match="settings"):
        evidence_of(records(), {})


@pytest.mark.parametrize(
    "name", ["evaluation.json", "spectrum.json", "plan.json", "edit.json", "resolved.toml"]
)
def test_refuses_without_a_file(name: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / name).unlink()
    with pytest.raises(ReportError, match=re.escape(name)):
        build_report(folder)
    assert not (folder / "README.md").exists()
    assert not (folder / "plots").exists()


def test_refuses_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        build_report(tmp_path)
