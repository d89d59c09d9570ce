"""Checkpoints in every way of holding weights, and edits of them, without the search for writers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from saber.ablation.apply import base_hash
from saber.ablation.compiler import compile_edit
from saber.ablation.edit import EditSet
from saber.ablation.operator import ablation_operator
from saber.model.anatomy import Anatomy, DiskTensor, Form, Writer
from saber.model.discovery import Leak
from saber.model.weights import shape_of, weight_names
from tests import pico

BLOCK = (32, 32)
"""Block of FP8 scales in pico checkpoints."""


def tiny(family: str) -> Any:
    """A random model of a family that is not in `pico`."""
    torch.manual_seed(0)
    two = {**pico.COMMON, "num_hidden_layers": 2}
    moe = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    oss = {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 64, "sliding_window": 8}
    gpt2 = {"vocab_size": pico.VOCAB, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
    configs = {
        "qwen3_moe": lambda: transformers.Qwen3MoeConfig(**two, **moe),
        "gpt_oss": lambda: transformers.GptOssConfig(**{**two, **oss}),
        "gpt2": lambda: transformers.GPT2Config(**gpt2, bos_token_id=2, eos_token_id=1, pad_token_id=0),
    }
    made = transformers.AutoModelForCausalLM.from_config(configs[family]())
    for parameter in made.parameters():
        parameter.data.add_(torch.randn(parameter.shape) * 0.05)
    return made.eval()


def save(model: Any, folder: Path) -> Path:
    """A model as a checkpoint with a chat tokenizer."""
    model.save_pretrained(folder)
    pico.tokenizer().save_pretrained(folder)
    return folder


def anatomy(model: Any) -> Anatomy:
    """Writers of models without post-norms, by their names."""
    writers = tuple(_writer(model, name) for name in weight_names(model) if _writes(name))
    layers = "transformer.h" if "gpt2" in model.config.model_type else "model.layers"
    count = int(model.config.num_hidden_layers)
    return Anatomy("by hand", 64, count, 1, layers, layers.rpartition(".")[0], writers, (), Leak(0.0, "", ()))


def _writes(name: str) -> bool:
    leaf = name.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2]
    return leaf in ("o_proj", "down_proj", "c_proj", "down_proj_bias")


def _writer(model: Any, name: str) -> Writer:
    shape = shape_of(model, name)
    layer = next(int(part) for part in name.split(".") if part.isdigit())
    fused = name.rpartition(".")[2] in ("down_proj", "down_proj_bias")
    form: Form = ("expert_bias" if len(shape) == 2 else "experts") if fused else "matrix"
    if len(shape) == 1:
        form = "bias"
    # d_model comes first in a linear and in the experts of Qwen, last in a Conv1D and in those of gpt-oss
    last = "c_proj" in name or "gpt_oss" in model.config.model_type
    axis = {
        "bias": 0,
        "expert_bias": 1,
        "matrix": int(last and "c_proj" in name),
        "experts": 2 if last else 1,
    }[form]
    disk = None
    if form == "experts" and model.config.model_type == "qwen3_moe":
        disk = DiskTensor(name.replace("experts.", "experts.{expert}.") + ".weight", 0)
    kind = "experts" if fused else "mlp"
    return Writer(name, name.rpartition(".")[0], layer, kind, form, axis, shape, disk=disk)


def edits(model: nn.Module, found: Anatomy, seed: int = 3) -> EditSet:
    """Two random directions leave every writer, one of them in part."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(found.d_model, 2, generator=generator))[0]
    operator = ablation_operator(basis, torch.tensor([1.0, 0.6]))
    made = {writer.name: compile_edit(model, writer, operator, basis) for writer in found.writers}
    return EditSet(made, base_hash(model, found.writers))


def ids() -> Tensor:
    """Two texts of token ids."""
    return torch.randint(5, 240, (2, 11), generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def logits(model: Any) -> Tensor:
    """What a model says of them."""
    return model(input_ids=ids(), use_cache=False).logits.float()


def to_fp8(source: Path, target: Path) -> tuple[Path, dict[str, Tensor]]:
    """A checkpoint with all projections in FP8, one scale a block, and the values that it holds then."""
    from transformers.integrations.finegrained_fp8 import Fp8Quantize

    config = transformers.FineGrainedFP8Config(weight_block_size=BLOCK)
    quantise = Fp8Quantize(type("Holder", (), {"quantization_config": config})())
    stored, values = {}, {}
    for name, tensor in load_file(source / "model.safetensors").items():
        parts = quantise.convert({name: tensor}) if "proj.weight" in name else {name: tensor}
        stored |= parts
        values[name] = tensor
        if len(parts) == 2:
            number, scale = parts.values()
            grid = scale.repeat_interleave(BLOCK[0], 0).repeat_interleave(BLOCK[1], 1)
            values[name] = number.float() * grid
    declared = {"quant_method": "fp8", "weight_block_size": list(BLOCK), "activation_scheme": "dynamic"}
    return _quantised(source, target, stored, declared), values


E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def to_mxfp4(source: Path, target: Path) -> tuple[Path, dict[str, Tensor]]:
    """A gpt-oss checkpoint with its experts as blocks of 32 four-bit numbers with a power of two each."""
    stored, values = {}, {}
    for name, tensor in load_file(source / "model.safetensors").items():
        values[name] = stored[name] = tensor
        if name.endswith(("experts.down_proj", "experts.gate_up_proj")):
            del stored[name]
            blocks, scales, values[name] = mxfp4(tensor)
            stored |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    plain = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    return _quantised(
        source, target, stored, {"quant_method": "mxfp4", "modules_to_not_convert": plain}
    ), values


def mxfp4(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Experts (E, d_in, d_out) as blocks (E, d_out, d_in / 32, 16), exponents, and the values that these hold."""
    parts = weight.float().transpose(1, 2).unflatten(2, (-1, 32))
    exponent = parts.abs().amax(-1, keepdim=True).clamp_min(1e-30).log2().floor() - 2
    scaled = parts / 2**exponent
    nearest = (scaled.abs()[..., None] - E2M1).abs().argmin(-1)
    code = (nearest + 8 * (scaled < 0)).to(torch.uint8)
    held = E2M1[nearest] * scaled.sign() * 2**exponent
    blocks = code[..., 0::2] | (code[..., 1::2] << 4)
    return blocks, (exponent[..., 0] + 127).to(torch.uint8), held.flatten(2).transpose(1, 2)


def _quantised(source: Path, target: Path, stored: dict[str, Tensor], declared: dict[str, Any]) -> Path:
    shutil.copytree(source, target)
    save_file({k: v.contiguous() for k, v in stored.items()}, target / "model.safetensors", {"format": "pt"})
    raw = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**raw, "quantization_config": declared}))
    return target
