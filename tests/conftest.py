"""Fixtures that every test may use; all models are real transformers classes, tiny and random."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from saber.config import ModelConfig
from saber.model.load import ChatModel, load
from tests import pico

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test finds on a twin is taken from, or left in, the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SABER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One checkpoint folder for each family."""
    root = tmp_path_factory.mktemp("pico")
    return {family: pico.save(family, root / family) for family in pico.FAMILIES}


@pytest.fixture(params=pico.FAMILIES)
def chat(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> ChatModel:
    """A freshly loaded pico model of each family in turn."""
    return load(str(checkpoints[request.param]), ModelConfig(device="cpu"))
