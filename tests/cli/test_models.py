"""Models that cannot be edited honestly: two lines, exit 2, nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import transformers
from safetensors.torch import load_file, save_file

from saber.cli import main
from tests import pico
from tests.cli.conftest import Refused
from tests.zoo_folder import save

OWN = """
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer


class OwnConfig(LlamaConfig):
    model_type = "martian"


class Layer(LlamaDecoderLayer):
    def forward(self, hidden_states, *args, **kwargs):
        return super().forward(hidden_states, *args, **kwargs) + 0.3 * self.input_layernorm(hidden_states)


class Own(LlamaForCausalLM):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.model.layers = type(self.model.layers)([Layer(config, i) for i in range(config.num_hidden_layers)])
        self.post_init()
"""


@pytest.fixture
def folder(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoints["llama"], tmp_path / "model"))


def own_code(folder: Path) -> None:
    (folder / "modeling_own.py").write_text(OWN)
    code = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
    pico.edit_config(folder, model_type="martian", auto_map=code, architectures=["Own"])


def change_tensors(folder: Path, *, without: str = "", extra: str = "") -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    if without:
        del tensors[without]
    if extra:
        tensors[extra] = tensors["model.layers.0.mlp.down_proj.weight"].clone()
    save_file(tensors, file, {"format": "pt"})


CASES = {
    "encoder-decoder": "encoder-decoder",
    "unknown": "martian",
    "no template": "no chat template",
    "one layer more": "missing",
    "one layer fewer": "model.layers.3",
    "missing": "model.layers.1.mlp.down_proj.weight",
    "extra": "model.layers.1.mlp.third_proj.weight",
    "remote code": "its own",
}


def spoil(case: str, folder: Path) -> None:
    if case == "encoder-decoder":
        config = transformers.T5Config(vocab_size=300, d_model=32, d_kv=8, d_ff=40, num_layers=2, num_heads=4)
        shutil.rmtree(folder)
        transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
        pico.tokenizer().save_pretrained(folder)
    elif case == "unknown":
        pico.edit_config(folder, model_type="martian", architectures=["MartianForCausalLM"])
    elif case == "no template":
        (folder / "chat_template.jinja").unlink()
    elif case.startswith("one layer"):
        pico.edit_config(folder, num_hidden_layers=5 if "more" in case else 3)
    elif case == "missing":
        change_tensors(folder, without="model.layers.1.mlp.down_proj.weight")
    elif case == "extra":
        change_tensors(folder, extra="model.layers.1.mlp.third_proj.weight")
    else:
        own_code(folder)


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_cannot_be_edited_is_refused(
    case: str, folder: Path, tmp_path: Path, refused: Refused
) -> None:
    spoil(case, folder)
    out = tmp_path / "out"
    message, _ = refused("run", folder, "--out", out, "--quiet")
    assert CASES[case] in message
    assert not out.exists()
    if case in ("encoder-decoder", "unknown", "remote code"):  # coverage reads the config only
        message, _ = refused("coverage", folder)
        assert CASES[case] in message


def test_code_of_its_own_is_announced_and_its_unknown_path_is_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    own_code(folder)
    out = tmp_path / "out"
    allowed = ("--set", "model.trust_remote_code=true")
    assert main(["run", str(folder), "--out", str(out), "--quiet", *allowed]) == 2
    warning, error, hint = capsys.readouterr().err.splitlines()
    assert "RUNNING CODE THAT CAME WITH THE MODEL" in warning
    assert "something unknown writes to the residual stream of martian" in error
    assert "saber coverage" in hint
    assert not out.exists()
    assert main(["coverage", str(folder), *allowed]) == 2
    assert "something unknown writes" in capsys.readouterr().err


def test_an_adapter_that_could_not_carry_the_edit_is_refused_at_once(
    tmp_path: Path, refused: Refused
) -> None:
    folder, out = save("gpt2", tmp_path / "gpt2"), tmp_path / "out"
    message, hint = refused("run", folder, "--out", out, "--export", "adapter", "--quiet")
    assert "an adapter cannot carry" in message
    assert "ablation.writers=" in hint
    assert not out.exists()


def test_there_must_be_something_to_dequantise(folder: Path, tmp_path: Path, refused: Refused) -> None:
    message, _ = refused("run", folder, "--out", tmp_path / "out", "--export", "dequantised", "--quiet")
    assert "is not quantised on disk" in message


def test_a_divided_run_needs_its_processes_and_cannot_be_resumed(
    folder: Path, tmp_path: Path, refused: Refused
) -> None:
    divided = ("--set", "model.tensor_parallel=true")
    message, hint = refused("run", folder, "--out", tmp_path / "out", "--quiet", *divided)
    assert "torchrun" in hint
    message, _ = refused("run", folder, "--out", tmp_path / "out", "--quiet", "--resume", *divided)
    assert "cannot be resumed" in message
