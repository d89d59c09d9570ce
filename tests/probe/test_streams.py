"""Architectures with several residual streams in parallel are read as the streams' mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests import pico
from tests.zoo import ZOO, build
from torch import Tensor

from saber.model.examine import examine
from saber.model.load import ChatModel
from saber.probe.capture import capture
from saber.prompts import Prompt, encode

TEXTS = ["Name a colour.", "Why does it rain in spring?", "hi"]
LAYER = 2


@torch.inference_mode()
def output_of_layer(model: torch.nn.Module, block: torch.nn.Module, ids: list[int]) -> Tensor:
    """What a block puts out for one prompt alone, without padding."""
    seen: list[Tensor] = []
    handle = block.register_forward_hook(
        lambda m, args, out: seen.append(out[0] if isinstance(out, tuple) else out)
    )
    model(input_ids=torch.tensor([ids]), use_cache=False)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("name", "where"),
    [("gemma3n", "first"), ("deepseek_v4", "before d_model"), ("qwen4_exp", "side by side")],
)
def test_the_mean_of_the_streams_is_read_wherever_they_lie(name: str, where: str) -> None:
    model, tokenizer = build(ZOO[name]), pico.tokenizer()
    chat = ChatModel(model, tokenizer, name, Path(), None, torch.float32, 4, eos=(1,))
    anatomy = examine(model)
    assert anatomy.streams > 1
    found = capture(chat, anatomy, [Prompt(text, "harmless") for text in TEXTS], position="last").values
    for text, read in zip(TEXTS, found, strict=True):
        (ids,) = encode(tokenizer, [text])
        hidden = output_of_layer(model, anatomy.block(model, LAYER), ids)
        if where == "first":
            known = hidden[:, 0, -1].mean(0)
        elif where == "before d_model":
            known = hidden[0, -1].mean(0)
        else:
            known = hidden[0, -1].reshape(anatomy.streams, anatomy.d_model).mean(0)
        assert known.shape == (anatomy.d_model,)
        assert torch.allclose(read[LAYER], known, atol=1e-4)
