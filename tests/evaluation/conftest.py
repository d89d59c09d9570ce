"""Pico models that the drift tests edit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from saber.config import ModelConfig
from saber.model.load import ChatModel, load

Edit = Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=("llama", "gemma4"))
def small(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> ChatModel:
    """A pico Llama and a pico Gemma 4 (softcap, shared keys, sliding windows), four prompts a batch."""
    return replace(load(str(checkpoints[request.param]), ModelConfig(device="cpu")), batch_size=4)


@pytest.fixture
def edit(small: ChatModel) -> Edit:
    """Removes a random direction from the first block's output."""
    block = small.model.get_decoder().layers[0].mlp.down_proj
    direction = torch.nn.functional.normalize(
        torch.randn(64, generator=torch.Generator().manual_seed(3)), dim=0
    )

    @contextmanager
    def put_on() -> Iterator[None]:
        handle = block.register_forward_hook(
            lambda module, args, y: y - (y @ direction)[..., None] * direction
        )
        try:
            yield
        finally:
            handle.remove()

    return put_on
