"""`saber coverage`: every writer, what happens to it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import saber.model.examine
import saber.model.survey
from saber.cli import main
from saber.config import ModelConfig
from saber.model.discovery import Discovery
from saber.model.examine import examine
from saber.model.load import skeleton
from saber.model.survey import Survey
from tests import pico
from tests.cli.conftest import Refused, last_line
from tests.zoo_folder import save


@pytest.mark.parametrize("family", pico.FAMILIES)
def test_coverage_lists_every_writer(
    family: str, checkpoints: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkpoints[family]
    anatomy = examine(skeleton(folder, family, ModelConfig()))
    assert main(["coverage", str(folder), "--json"]) == 0
    record = last_line(capsys.readouterr().out)
    rows = {row["name"]: row for row in record["rows"]}
    assert {name for name, row in rows.items() if row["status"] == "edited"} == {
        writer.name for writer in anatomy.writers if writer.kind != "embedding"
    }
    assert all(rows[writer.name]["disk"] for writer in anatomy.writers if writer.layer is not None)
    assert record["leak"]["worst"] <= 1e-6
    assert main(["coverage", str(folder), "--set", 'ablation.writers=["mlp"]']) == 0
    said = capsys.readouterr().out
    inside = {w.kind: w.name.partition(f"{anatomy.layers}.0.")[2] for w in anatomy.of(0)}
    for kind, name in inside.items():
        assert f"{'edited ' if kind == 'mlp' else 'skipped'} {name} (" in said
    mlp = sum(writer.kind == "mlp" for writer in anatomy.writers)
    assert f"{mlp} edited, {len(anatomy.writers) - mlp} skipped, 0 unknown" in said


def test_coverage_groups_layers_that_are_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", str(save("granitemoehybrid", tmp_path))]) == 0
    said = capsys.readouterr().out
    assert "layers 0, 2 (2 layers)" in said
    assert "layers 1, 3 (2 layers)" in said
    assert "mamba.out_proj.weight (mixer, 64 x 128, axis 0)" in said
    assert "on disk block_sparse_moe.output_linear.weight" in said
    assert said.count("model.embed_tokens.weight") == 1


def test_coverage_of_an_unknown_parameter_fails(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = saber.model.examine.survey

    def blind(*given: object) -> Survey:
        found = real(*given)
        return replace(found, parameters=tuple(n for n in found.parameters if "up_proj" not in n))

    monkeypatch.setattr(saber.model.examine, "survey", blind)
    assert main(["coverage", str(checkpoints["llama"])]) == 2
    said = capsys.readouterr()
    assert "unknown mlp.up_proj.weight" in said.out
    assert ", 4 unknown" in said.out
    assert "mlp.up_proj.weight" in said.err
    assert len(said.err.splitlines()) == 2


def test_a_writer_that_was_missed_is_found_by_the_leak(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    real = saber.model.survey.discover

    def blind(*given: object) -> Discovery:
        found = real(*given)
        kept = tuple(one for one in found.found if "layers.2.mlp" not in one.name)
        return replace(found, found=kept)

    monkeypatch.setattr(saber.model.survey, "discover", blind)
    monkeypatch.setenv("SABER_CACHE", str(checkpoints["llama"].parent / "blind"))
    message, _ = refused("coverage", checkpoints["llama"])
    assert "something unknown writes to the residual stream" in message
    assert "output of layer" in message


def test_a_leak_by_design_is_a_warning_or_with_strict_an_error(
    tmp_path: Path, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save("longcat_flash", tmp_path)
    assert main(["coverage", str(folder)]) == 0
    assert "it leaks by design: identity experts" in capsys.readouterr().out
    message, hint = refused("coverage", folder, "--strict")
    assert "leaks by design" in message
    assert "--strict" in hint
