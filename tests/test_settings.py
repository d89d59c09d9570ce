"""Settings: sources in order, unknown keys refused with the nearest one, presets that do what the cards say."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from saber.config import RunConfig
from saber.errors import ConfigError
from saber.settings import known_keys, preset_text, presets, resolve, to_toml


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[ablation]\nalpha_base = 0.5\n[spectrum]\nglobal_top_k = 3\n")
    config, text = resolve(preset="gemma4-e4b-aggressive", file=file, assignments=["spectrum.global_top_k=4"])
    assert (config.ablation.alpha_base, config.spectrum.global_top_k) == (0.5, 4)
    assert config.spectrum.extraction == "svd"
    assert file.read_text() in text


def test_options_are_taken_as_they_are() -> None:
    config, text = resolve(options={"prompts.harmful": "2024-01-01", "model.batch_size": "8", "seed": 3})
    assert config.prompts.harmful == "2024-01-01"
    assert (config.model.batch_size, config.seed) == (8, 3)
    assert '# option: prompts.harmful = "2024-01-01"' in text


def test_run_toml_is_valid_with_preset_and_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[ablation]\nalpha_base = 0.5\n")
    _, text = resolve(preset="single-direction", file=file, assignments=["seed=1"])
    assert tomllib.loads(text) == {"ablation": {"alpha_base": 0.5}}
    assert "# preset: single-direction" in text


def test_round_trip() -> None:
    config, _ = resolve(preset="gemma4-e2b-refined", options={"prompts.system": 'Say "hi"\n\t\x7f é'})
    assert RunConfig.model_validate(tomllib.loads(to_toml(config))) == config


@pytest.mark.parametrize(
    ("assignment", "nearest"),
    [
        ("ablation.alpha_bas=1", "ablation.alpha_base"),
        ("ablaton.alpha_base=1", "ablation.alpha_base"),
        ("spectrum.globl_top_k=3", "spectrum.global_top_k"),
        ("sed=3", "seed"),
    ],
)
def test_unknown_key_names_the_nearest(assignment: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match="unknown config key") as error:
        resolve(assignments=[assignment])
    assert repr(nearest) in error.value.hint


@pytest.mark.parametrize(
    "assignment",
    [
        "ablation.alpha_base=1.5",
        "spectrum.extraction=pca",
        "prompts.n_harmful=0",
        "refinement.decay=0",
        "ablation=3",
    ],
)
def test_values_out_of_range(assignment: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(assignments=[assignment])
    assert assignment.partition("=")[0] in error.value.message


def test_bad_sources(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("a = [")
    for options in (
        {"file": broken},
        {"file": tmp_path / "none.toml"},
        {"preset": "gemma"},
        {"assignments": ["x"]},
    ):
        with pytest.raises(ConfigError) as error:
            resolve(**options)
        assert error.value.hint


def test_presets_are_the_published_configurations() -> None:
    aggressive, _ = resolve(preset="gemma4-e4b-aggressive")
    balanced, _ = resolve(preset="gemma4-e4b-balanced")
    refined, _ = resolve(preset="gemma4-e2b-refined")
    for config in (aggressive, balanced):
        assert config.spectrum.extraction == "svd"
        assert config.spectrum.directions_per_layer == 4
        assert config.spectrum.layer_strategy == "top_k"
        assert config.spectrum.global_top_k == 14
        assert (config.ablation.alpha_base, config.ablation.alpha_entangled) == (0.825, 0.03)
        assert config.entanglement.threshold == 0.55
        assert config.refinement.max_iterations == 4
    sizes = [
        (c.prompts.n_harmful, c.prompts.n_harmless, c.prompts.n_capability) for c in (aggressive, balanced)
    ]
    assert sizes == [(49, 49, 30), (30, 30, 30)]
    assert (refined.spectrum.global_top_k, refined.ablation.alpha_base) == (10, 0.85)
    assert refined.refinement.max_iterations == 5
    assert not refined.refinement.stop_at_target


def test_every_preset_resolves_and_says_what_it_is() -> None:
    for name in presets():
        resolve(preset=name)
        assert preset_text(name).startswith("# ")


def test_every_key_is_documented() -> None:
    config = RunConfig()
    for key in known_keys():
        section, _, name = key.rpartition(".")
        fields = type(getattr(config, section)).model_fields if section else RunConfig.model_fields
        assert fields[name].description or not section, key
