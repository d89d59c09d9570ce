"""Building the zoo's models: real transformers classes, tiny and random."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.zoo.spec import VOCAB, Architecture

TOKENS = 16


def build(architecture: Architecture, seed: int = 0) -> Any:
    """A tiny random model in fp32, with norms, scales and biases that differ from 1 and 0."""
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    torch.manual_seed(seed)
    config = CONFIG_MAPPING[architecture.model_type](**architecture.config)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval().float()
    randomise(model, seed + 1)
    return model


def inputs(seed: int = 5) -> dict[str, torch.Tensor]:
    """One short text of ordinary token ids."""
    ids = torch.randint(5, VOCAB - 10, (1, TOKENS), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@torch.no_grad()
def randomise(model: nn.Module, seed: int) -> None:
    """Move every parameter off its initial value: a gain of 1 or a bias of 0 would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            continue
        vector = parameter.ndim == 1 or parameter.numel() == max(parameter.shape)
        gain = vector and "norm" in name.lower() and not name.endswith("bias")
        width = 0.3 if gain else 0.1 if vector else 0.05
        parameter.add_(torch.randn(parameter.shape, generator=generator) * width)
    for name, buffer in model.named_buffers():
        if name.endswith("layer_scalar"):
            buffer.fill_(0.7)
