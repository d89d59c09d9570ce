"""A whole run of a model that two processes share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny
from tests.pipeline.architectures import SETTINGS
from tests.zoo_folder import save, short_prompts


def run(command: list[str], folder: Path, out: Path, assignments: list[str]) -> dict[str, object]:
    """Run `saber run` in a process of its own (or several); its JSON."""
    given = [*command, "-m", "saber.cli", "run", str(folder), "--out", str(out), "--json", "--quiet"]
    done = subprocess.run(
        [*given, *tiny.options(assignments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 1, "only the first process speaks"
    return json.loads(lines[0])


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path: Path) -> None:
    prompts = short_prompts(tmp_path / "prompts")
    folder = save("llama", tmp_path / "base", prompts=prompts)
    settings = [*SETTINGS, *prompts]
    alone = run([sys.executable], folder, tmp_path / "alone", [*settings, "model.device=cpu"])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    shared = run(torchrun, folder, tmp_path / "shared", [*settings, "model.tensor_parallel=true"])
    one, two = alone["evaluation"], shared["evaluation"]
    assert isinstance(one, dict)
    assert isinstance(two, dict)
    assert one["edited"]["refusal"] == two["edited"]["refusal"]
    assert one["drift"]["answer_kl"]["value"] == pytest.approx(two["drift"]["answer_kl"]["value"], rel=1e-3)
    assert (tmp_path / "shared" / "checkpoint" / "model.safetensors").is_file()
