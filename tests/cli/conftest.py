"""One run of the demo model from the command line, shared; tests that change files work on copies."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from saber.cli import main
from tests import tiny


def last_line(text: str) -> dict[str, Any]:
    """The JSON object on the last line."""
    found = json.loads(text.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Its run folder; do not change it.
        options: The `--set` options that it was started with.
        stdout: What it printed.
        stderr: What it printed there.
    """

    folder: Path
    options: list[str]
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a run that takes seconds."""
    return tiny.options([*tiny.SETTINGS, *tiny.sources(tmp_path_factory.mktemp("prompts"))])


@pytest.fixture(scope="session")
def run(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`saber run demo --json --quiet`."""
    folder = tmp_path_factory.mktemp("runs") / "demo"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["run", "demo", "--out", str(folder), "--json", "--quiet", *options])
    assert code == 0, err.getvalue()
    return Run(folder, options, out.getvalue(), err.getvalue())


Refused = Callable[..., tuple[str, str]]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """`refused(*arguments)`: the command exits with 2 and says exactly two lines: what is wrong, what to do."""

    def go(*arguments: object) -> tuple[str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert code == 2, said.err
        lines = said.err.splitlines()
        assert len(lines) == 2, said.err
        assert lines[0].startswith("error: ")
        assert lines[1].startswith("hint: ")
        assert len(lines[1]) > len("hint: ")
        return lines[0].removeprefix("error: "), lines[1].removeprefix("hint: ")

    return go
