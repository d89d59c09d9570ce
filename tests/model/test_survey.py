"""What is remembered of a twin: the same anatomy from the cache, none from a damaged one, kinds by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

import saber.model.survey
from saber.errors import AnatomyError
from saber.model.discovery import Discovery, Found
from saber.model.examine import examine
from saber.model.overrides import INTRINSIC
from saber.model.survey import kind_of, survey, wild
from tests import zoo


def model(**changes: object) -> transformers.PreTrainedModel:
    architecture = zoo.ZOO["llama"]
    config = transformers.LlamaConfig(**{**architecture.config, **changes})
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


def test_a_second_look_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = examine(model(), cache=tmp_path)

    def never(*given: object) -> None:
        raise AssertionError("looked again")

    monkeypatch.setattr(saber.model.survey, "build_twin", never)
    assert examine(model(), cache=tmp_path) == first
    with pytest.raises(AssertionError, match="looked again"):
        examine(model(attention_bias=True), cache=tmp_path)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"layers": "model.layers"}', '{"writers": 3}'])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: str) -> None:
    first = examine(model(), cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(damage)
    assert examine(model(), cache=tmp_path) == first
    assert len(file.read_text()) > 100


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert examine(model(), cache=blocked / "below").writers


def test_precision_and_place_are_not_part_of_the_question(tmp_path: Path) -> None:
    config = model().config
    survey(transformers.LlamaForCausalLM, config, tmp_path)
    config._name_or_path = "elsewhere"
    config.dtype = torch.bfloat16
    survey(transformers.LlamaForCausalLM, config, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_model_that_differs_from_its_twin_is_refused(tmp_path: Path) -> None:
    odd = model()
    odd.model.layers = odd.model.layers[:3]
    with pytest.raises(AnatomyError, match="holds 3 blocks, a model of this config has 4"):
        examine(odd, cache=tmp_path)
    odd = model()
    odd.model.layers[1].mlp.down_proj = torch.nn.Linear(96, 63, device="meta")
    with pytest.raises(AnatomyError, match=r"layers\.1\.mlp\.down_proj\.weight has shape"):
        examine(odd, cache=tmp_path)
    odd = model()
    odd.model.layers[2].mlp.extra = torch.nn.Linear(4, 4, bias=False, device="meta")
    assert [row.name for row in examine(odd, cache=tmp_path).unknown] == ["model.layers.2.mlp.extra.weight"]
    del odd.model.layers[2].mlp.down_proj
    with pytest.raises(AnatomyError, match="lacks"):
        examine(odd, cache=tmp_path)


@pytest.mark.parametrize(
    ("name", "form", "kind"),
    [
        ("self_attn.o_proj.weight", "matrix", "attention"),
        ("attention.dense.weight", "matrix", "attention"),
        ("attn.c_proj.weight", "matrix", "attention"),
        ("linear_attn.out_proj.weight", "matrix", "mixer"),
        ("mamba.out_proj.weight", "matrix", "mixer"),
        ("conv.out_proj.weight", "matrix", "mixer"),
        ("mixer.out_proj.weight", "matrix", "mixer"),
        ("mixer.o_proj.weight", "matrix", "attention"),
        ("mixer.down_proj.weight", "matrix", "mlp"),
        ("mixer.shared_experts.down_proj.weight", "matrix", "mlp"),
        ("mlp.shared_expert.down_proj.weight", "matrix", "mlp"),
        ("mlp.experts.3.w2.weight", "matrix", "experts"),
        ("mlp.experts.down_proj", "experts", "experts"),
        ("mlp.experts.down_proj_bias", "expert_bias", "bias"),
        ("mlp.fc2.bias", "bias", "bias"),
        ("fc2.weight", "matrix", "mlp"),
        ("per_layer_projection.weight", "matrix", "per_layer"),
        ("feed_forward.w2.weight", "matrix", "mlp"),
        ("strange.weight", "matrix", "other"),
    ],
)
def test_kinds_are_labels_by_name(name: str, form: str, kind: str) -> None:
    found = Found(f"model.layers.7.{name}", 7, 0, form, (), False)
    assert kind_of(found, "model.layers") == kind


def test_only_the_block_index_counts() -> None:
    assert (
        wild("model.layers.12.mlp.experts.7.w2.weight", "model.layers")
        == "model.layers.12.mlp.experts.*.w2.weight"
    )
    assert wild("model.layers.12.fc2.weight", "model.layers") == "model.layers.12.fc2.weight"
    assert wild("model.embed.3.weight", "model.layers") == "model.embed.3.weight"


def test_reasons_for_leaks_are_those_of_the_zoo() -> None:
    reasons = {a.model_type: a.leaks for a in zoo.ZOO.values() if a.leaks}
    assert reasons == INTRINSIC


def test_a_class_that_does_not_run_small_is_two_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object, **named: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(transformers.LlamaModel, "forward", broken)
    with pytest.raises(AnatomyError, match=r"does not run \(RuntimeError: shapes cannot be multiplied\)"):
        survey(transformers.LlamaForCausalLM, model().config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_stream_that_is_not_finite_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = saber.model.survey.discover

    def then_broken(twin: torch.nn.Module, *given: object) -> Discovery:
        found = real(twin, *given)
        twin.get_parameter("model.layers.2.mlp.up_proj.weight").data.fill_(torch.nan)
        return found

    monkeypatch.setattr(saber.model.survey, "discover", then_broken)
    with pytest.raises(AnatomyError, match="not finite"):
        survey(transformers.LlamaForCausalLM, model().config, tmp_path)
