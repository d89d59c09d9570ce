"""One small run of the demo model, made once and shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from saber.cli.job import run_job
from saber.settings import resolve
from saber.watch import Silent
from tests import tiny


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Assignments of a run that takes seconds."""
    return [*tiny.SETTINGS, *tiny.sources(tmp_path_factory.mktemp("prompts"))]


@pytest.fixture(scope="session")
def finished(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run folder; do not change it."""
    out = tmp_path_factory.mktemp("runs") / "first"
    config, text = resolve(assignments=settings)
    run_job("demo", config, text, out, resume=False, watch=Silent())
    return out
