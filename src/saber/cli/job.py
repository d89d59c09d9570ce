"""A whole job: stages, evaluation, report, export and, last, the manifest."""

from __future__ import annotations

import re
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from saber.cli.exporting import check_export, export_run, own_weights, save_edit_of
from saber.config import RunConfig
from saber.errors import SaberError, StoreError
from saber.pipeline import Outcome, probe, run
from saber.pipeline.bench import Bench
from saber.provenance import commit, license_of, model_files, peak_memory, versions
from saber.report.build import build_probe_plots, build_report, portable_card
from saber.settings import to_toml
from saber.store import RunFolder, read_json, write_json, write_text
from saber.watch import Watch


def default_folder(model: str) -> Path:
    """runs/<model>-<time>."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model.strip("/").rpartition("/")[2]) or "model"
    return Path("runs") / f"{name}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"


def run_job(
    model: str, config: RunConfig, text: str, out: Path, *, resume: bool, watch: Watch
) -> dict[str, Any]:
    """`saber run`: everything that a run folder holds.

    Returns:
        What a person or a script wants to know of the run.
    """
    started = time.perf_counter()
    folder = RunFolder.create(out, resume=resume)
    _check_resumed(folder, model, config)
    if folder.finished:
        if not folder.evaluation.is_file():
            raise StoreError(f"{out} holds a probe, not a run", hint="Give another folder with --out.")
        return _result(folder, read_json(folder.manifest))
    with _started(folder, config, text):
        check_export(model, config)
        with run(model, config, folder, watch) as outcome:
            manifest = _finish(folder, own_weights(outcome, config), config, started, watch)
    return _result(folder, manifest)


def _finish(
    folder: RunFolder, outcome: Outcome, config: RunConfig, started: float, watch: Watch
) -> dict[str, Any]:
    """Everything behind the evaluation: edit, report, export and, last, the manifest."""
    save_edit_of(folder, outcome, config)
    manifest = _manifest(outcome.bench, config, outcome.timings)
    _add_cost(manifest, outcome.bench, started)
    with watch.stage("report"):
        build_report(folder.path, manifest)
    if config.export.format != "none":
        with watch.stage(f"export the {config.export.format} and verify it") as step:
            card = {"README.md": portable_card(folder.path, manifest)}
            manifest["export"] = export_run(folder, outcome, config, card, step)
    _add_cost(manifest, outcome.bench, started)
    write_json(folder.manifest, manifest)
    return manifest


def probe_job(model: str, config: RunConfig, text: str, out: Path, *, watch: Watch) -> dict[str, Any]:
    """`saber probe`: stages 1 to 3 and their plots."""
    started = time.perf_counter()
    folder = RunFolder.create(out)
    with _started(folder, config, text), probe(model, config, folder, watch) as (bench, seen):
        plots = build_probe_plots(folder.path)
        manifest = _manifest(bench, config, {})
        _add_cost(manifest, bench, started)
        write_json(folder.manifest, manifest)
        names = [direction.name for direction in seen.ranked]
    spectrum, entanglement = read_json(folder.spectrum), read_json(folder.entanglement)
    return {
        "run": str(folder.path),
        "plots": [str(path) for path in plots],
        "ranked": names,
        "spectrum": spectrum,
        "entanglement": entanglement,
    }


@contextmanager
def _started(folder: RunFolder, config: RunConfig, text: str) -> Iterator[None]:
    """A run that the user must fix before it found anything leaves no folder behind."""
    new = not folder.resolved_toml.exists()
    write_text(folder.run_toml, text)
    write_text(folder.resolved_toml, to_toml(config))
    try:
        yield
    except SaberError:
        if new and not folder.spectrum.exists():
            folder.discard()
        raise


def _check_resumed(folder: RunFolder, model: str, config: RunConfig) -> None:
    """Refuse to go on with other settings; an unfinished run may change those that change no result."""
    if not folder.resolved_toml.is_file():
        return
    before = _flat(tomllib.loads(folder.resolved_toml.read_text(encoding="utf-8")))
    now = _flat(tomllib.loads(to_toml(config)))
    if folder.finished:
        before["MODEL"], now["MODEL"] = read_json(folder.manifest)["model"]["name"], model
    free = () if folder.finished else ("export.format", "model.batch_size")
    other = [key for key in now if now[key] != before.get(key) and key not in free]
    if other:
        key = other[0]
        hint = "Resume with the settings in its resolved.toml, or give another folder with --out."
        raise StoreError(
            f"the run in {folder.path} was started with other settings: {key} = {before.get(key)}, now {now[key]}",
            hint="A finished run is exported again with `saber export`." if key == "export.format" else hint,
        )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{key}": each for key, each in value.items()}
        else:
            flat[name] = value
    return flat


def _manifest(bench: Bench, config: RunConfig, timings: dict[str, float]) -> dict[str, Any]:
    chat = bench.chat
    return {
        "saber_version": versions()["saber-llm"],
        "commit": commit(),
        "versions": versions(),
        "model": {
            "name": chat.name,
            "revision": chat.revision,
            "license": license_of(chat.folder),
            "files": model_files(chat.folder),
            "family": bench.anatomy.family,
            "layers": bench.anatomy.n_layers,
            "d_model": bench.anatomy.d_model,
            "not_edited": [w.name for w in bench.anatomy.writers if w.kind not in config.ablation.writers],
            "leak": bench.anatomy.leak.worst,
            "intrinsic": bench.anatomy.intrinsic,
        },
        "prompts": {role: _prompts_row(bench, role) for role in bench.sets},
        "refusal_tokens": _tokens_row(bench),
        "seed": config.seed,
        "device": str(chat.device),
        "dtype": str(chat.dtype).removeprefix("torch."),
        "quantisation": asdict(chat.quantisation),
        "notes": list(chat.notes),
        "timings": timings,
        "command": " ".join(["saber", *sys.argv[1:]]),
    }


def _prompts_row(bench: Bench, role: Any) -> dict[str, Any]:
    given, split = bench.sets[role], bench.splits[role]
    return {
        "source": given.source,
        "revision": given.revision,
        "sha256": given.sha256,
        "n": len(given),
        "duplicates": given.duplicates,
        "probe": len(split.probe),
        "select": len(split.select),
        "test": len(split.test),
        "dropped": bench.dropped.get(role, 0),
    }


def _tokens_row(bench: Bench) -> dict[str, list[str]]:
    decode = bench.chat.tokenizer.decode
    return {
        "refusal": [decode([token]) for token in bench.tokens.refusal],
        "compliance": [decode([token]) for token in bench.tokens.compliance],
    }


def _add_cost(manifest: dict[str, Any], bench: Bench, started: float) -> None:
    manifest["cost"] = {
        "seconds": time.perf_counter() - started,
        "bare_forward_seconds": bench.clock.seconds,
        "forward_passes": bench.clock.passes,
        "peak_memory_bytes": peak_memory(),
    }


def _result(folder: RunFolder, manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": str(folder.path),
        "report": str(folder.report),
        "card": str(folder.card),
        "evaluation": read_json(folder.evaluation),
        "export": manifest.get("export"),
        "cost": manifest["cost"],
    }
