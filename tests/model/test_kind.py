"""A checkpoint is loaded as what it is, whole and by known code; what writes no answers is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers

from saber.config import ModelConfig
from saber.errors import ModelError, SaberError
from saber.model.kind import auto_class
from saber.model.load import load, skeleton
from tests import pico
from tests.model import by_hand

CPU = ModelConfig(device="cpu")


@pytest.fixture
def folder(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A private copy of the pico Llama."""
    return Path(shutil.copytree(checkpoints["llama"], tmp_path / "model"))


def refused(name: Path | str, config: ModelConfig = CPU) -> SaberError:
    with pytest.raises(ModelError) as caught:
        load(str(name), config)
    assert caught.value.hint
    return caught.value


def test_a_multimodal_model_is_not_loaded_as_its_text_part(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """The text class would load nothing of it, or drop the towers; both would run."""
    folder = Path(shutil.copytree(checkpoints["gemma4_mm"], tmp_path / "mm"))
    assert type(load(str(folder), CPU).model).__name__ == "Gemma4ForConditionalGeneration"
    text = json.loads((folder / "config.json").read_text())["text_config"]
    text |= {"architectures": ["Gemma4ForCausalLM"], "model_type": "gemma4_text"}
    (folder / "config.json").write_text(json.dumps(text))
    assert "are missing" in refused(folder).message


def test_a_multimodal_model_without_a_text_class_is_loaded_whole(tmp_path: Path) -> None:
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
        "projection_dim": 32,
    }
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**vision),
        text_config=pico.config("llama"),
        image_token_index=250,
    )
    folder = by_hand.save(transformers.LlavaForConditionalGeneration(config), tmp_path / "llava")
    kind = "LlavaForConditionalGeneration"
    assert type(load(str(folder), CPU).model).__name__ == kind
    assert type(skeleton(folder, "llava", CPU)).__name__ == kind


def test_towers_are_kept_where_a_config_names_no_class() -> None:
    """Qwen 3.5 has a text class and a whole one for the same config."""
    config = transformers.Qwen3_5Config()
    assert auto_class(config, {}, "x").__name__ == "AutoModelForImageTextToText"
    named = {"architectures": ["Qwen3_5ForCausalLM"]}
    assert auto_class(config, named, "x").__name__ == "AutoModelForCausalLM"


SMALL: dict[str, Any] = {"vocab_size": pico.VOCAB, "num_hidden_layers": 1, "num_attention_heads": 2}
BERT = transformers.BertConfig(hidden_size=32, intermediate_size=48, **SMALL)
T5 = transformers.T5Config(vocab_size=pico.VOCAB, d_model=32, d_kv=16, d_ff=48, num_layers=1, num_heads=2)
BART = transformers.BartConfig(
    vocab_size=pico.VOCAB,
    d_model=32,
    encoder_layers=1,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
)
VIT = transformers.ViTConfig(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=1,
    num_attention_heads=2,
    image_size=16,
    patch_size=8,
)
NO_DECODERS = {
    "T5": (transformers.T5ForConditionalGeneration, T5, "encoder-decoder"),
    "BART": (transformers.BartForConditionalGeneration, BART, "encoder-decoder"),
    "BERT": (transformers.BertForMaskedLM, BERT, "encoder that fills gaps"),
    "BERT as a language model": (transformers.BertLMHeadModel, BERT, "is an encoder"),
    "BERT, bare": (transformers.BertModel, BERT, "does not write answers"),
    "reward model": (transformers.LlamaForSequenceClassification, pico.config("llama"), "scores"),
    "Llama without a head": (transformers.LlamaModel, pico.config("llama"), "does not write answers"),
    "vision": (transformers.ViTForImageClassification, VIT, "images only"),
    "vision, bare": (transformers.ViTModel, VIT, "does not write answers"),
}


@pytest.mark.filterwarnings("ignore:.*is_decoder.*")
@pytest.mark.parametrize("case", NO_DECODERS)
def test_models_that_write_no_answers(case: str, tmp_path: Path) -> None:
    kind, config, what = NO_DECODERS[case]
    folder = by_hand.save(kind(config), tmp_path / "model")
    error = refused(folder)
    assert what in error.message
    assert "decoders that write answers" in error.hint
    with pytest.raises(ModelError, match=re.escape(what)):
        skeleton(folder, case, CPU)


def test_an_encoder_decoder_whose_config_does_not_say_so(folder: Path) -> None:
    raw = {key: value for key, value in T5.to_dict().items() if key != "is_encoder_decoder"}
    (folder / "config.json").write_text(json.dumps({**raw, "architectures": None}))
    assert "encoder-decoder" in refused(folder).message


CODE = """
from pathlib import Path
from transformers import {base}Config, {base}ForCausalLM

Path(__file__).with_name("it_ran").touch()

class OwnConfig({base}Config):
    model_type = "own"

class OwnModel({base}ForCausalLM):
    config_class = OwnConfig
"""


def bring_code(folder: Path, model_type: str) -> Path:
    (folder / "own.py").write_text(CODE.format(base="Llama"))
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    pico.edit_config(folder, auto_map=auto_map, model_type=model_type, architectures=["OwnModel"])
    return folder


def test_remote_code_stays_off(folder: Path) -> None:
    error = refused(bring_code(folder, "own"))
    assert "its own Python code" in error.message
    assert "trust_remote_code" in error.hint


def test_transformers_own_class_is_used_where_there_is_one(folder: Path, tmp_path: Path) -> None:
    """A checkpoint of a known family may bring code for older releases: it does not run, and that is said."""
    said: list[str] = []
    chat = load(str(bring_code(folder, "llama")), CPU, say=said.append)
    assert type(chat.model).__name__ == "LlamaForCausalLM"
    assert said == list(chat.notes)
    assert "own.py" in said[0]
    assert "does not run" in said[0]
    assert not list(tmp_path.rglob("it_ran"))


def test_remote_code_that_was_asked_for_is_announced_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "modules"
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(ran))
    monkeypatch.syspath_prepend(str(ran))
    heard: list[bool] = []

    def say(text: str) -> None:
        assert "RUNNING CODE THAT CAME WITH THE MODEL" in text
        heard.append(any(ran.rglob("it_ran")))

    config = ModelConfig(device="cpu", trust_remote_code=True)
    chat = load(str(bring_code(folder, "own")), config, say=say)
    assert type(chat.model).__name__ == "OwnModel"
    assert heard == [False]
    assert any(ran.rglob("it_ran"))
