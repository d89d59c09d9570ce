"""What only a process of its own shows: imports, signals, and narrow terminals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from saber.cli import main
from tests.cli.conftest import Run

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "default"}
START = "from saber.cli import main; main()"


def saber(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", START, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**ENVIRONMENT, **environment})


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from saber.cli import main; code = main(['--help']); "
        "heavy = {'torch', 'transformers', 'numpy', 'matplotlib', 'pydantic'} & set(sys.modules); "
        "print(sorted(heavy), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    assert "Edit refusal behaviour" in done.stdout


def test_exit_codes_of_a_real_process() -> None:
    assert saber("--version").returncode == 0
    done = saber("run", "demo", "--set", "ablation.alpha_bas=1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2


def test_a_narrow_terminal(run: Run) -> None:
    done = saber("run", "demo", "--out", run.folder, "--resume", *run.options, COLUMNS="40")
    assert done.returncode == 0, done.stderr
    table = done.stdout.partition("drift:")[0].splitlines()
    assert table
    assert max(len(line.rstrip()) for line in table) <= 40
    words = done.stdout.split()
    for word in ("harmful", "borderline", "instruction", "arithmetic", "degenerate"):
        assert word in words, "no word is broken"


def test_an_interrupt_can_be_resumed(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # A shell's background jobs ignore SIGINT, and so would this child of theirs.
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {START}"
    arguments = ["run", "demo", "--out", str(out), *run.options]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    deadline = time.monotonic() + 120
    while not (out / "state" / "probe.json").is_file() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "--resume" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (out / "manifest.json").exists()
    assert not list(out.rglob("*.partial-*"))
    assert main([*arguments, "--resume", "--quiet"]) == 0, "resumed"
    for name in ("edit.safetensors", "evaluation.json"):
        assert (out / name).read_bytes() == (run.folder / name).read_bytes()
