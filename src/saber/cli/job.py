"""A whole job: stages, evaluation, report, export and, last, the manifest."""

from __future__ import annotations

import re
import shutil
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from saber.config import RunConfig
from saber.errors import ExportError, ModelError, SaberError, StoreError
from saber.pipeline import Outcome, probe, run
from saber.pipeline.bench import Bench
from saber.provenance import commit, license_of, model_files, peak_memory, versions
from saber.report.build import build_probe_plots, build_report, portable_card
from saber.settings import to_toml
from saber.store import RunFolder, read_json, write_json, write_text
from saber.watch import Step, Watch


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
    with _started(folder, config, text), run(model, config, folder, watch) as outcome:
        _save_edit(folder, outcome, config)
        manifest = _manifest(outcome.bench, config, outcome.timings)
        _add_cost(manifest, outcome.bench, started)
        with watch.stage("report"):
            build_report(folder.path, manifest)
        if config.export.format != "none":
            with watch.stage(f"export the {config.export.format} and verify it") as step:
                card = {"README.md": portable_card(folder.path, manifest)}
                manifest["export"] = _export(folder, outcome, config.export.format, card, step)
        _add_cost(manifest, outcome.bench, started)
        write_json(folder.manifest, manifest)
    return _result(folder, manifest)


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


def export_job(run_folder: Path, out: Path, format_: str, step: Step) -> None:
    """`saber export`: the edit of a finished run, without loading the model."""
    from saber.export.adapter import export_adapter
    from saber.export.apply import anatomy_of, apply_edit
    from saber.export.edit_file import certificates_of, load_edit
    from saber.model.locate import locate

    folder = RunFolder.open(run_folder)
    if not folder.finished:
        raise StoreError(
            f"{run_folder} is not finished", hint="Finish it with saber run ... --out DIR --resume"
        )
    model = read_json(folder.manifest)["model"]
    name = model["name"]
    revision = model["revision"]
    base, _ = locate(f"{name}@{revision}" if revision and "@" not in name else name)
    card = {"README.md": portable_card(folder.path)}
    if format_ == "checkpoint":
        apply_edit(folder.path, base, out, extra_files=card, progress=step)
        return
    edits, record = load_edit(folder.path)
    export_adapter(
        edits,
        anatomy_of(base),
        out,
        base_name=name,
        revision=revision,
        certificates=certificates_of(record),
        extra_files=card,
    )


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


def _save_edit(folder: RunFolder, outcome: Outcome, config: RunConfig) -> None:
    from saber.export.edit_file import save_edit

    chat = outcome.bench.chat
    meta = {"base_name": chat.name, "revision": chat.revision, "settings": config.model_dump(mode="json")}
    save_edit(folder.edit_tensors, folder.edit_record, outcome.edits, outcome.certificates, meta)


def _export(
    folder: RunFolder, outcome: Outcome, format_: str, card: dict[str, str], step: Step
) -> dict[str, Any]:
    """Write the artefact and compare it, reloaded, with the edit in memory."""
    from saber.export.adapter import export_adapter
    from saber.export.checkpoint import export_checkpoint
    from saber.export.compare import compare_with_memory

    bench = outcome.bench
    target = folder.checkpoint if format_ == "checkpoint" else folder.adapter
    shutil.rmtree(target, ignore_errors=True)  # of an interrupted run; it was never announced
    if format_ == "checkpoint":
        export_checkpoint(
            bench.chat.folder,
            outcome.edits,
            bench.anatomy,
            target,
            extra_files=card,
            base_name=bench.chat.name,
            revision=bench.chat.revision,
            model=bench.chat.model,
            progress=step,
        )
    else:
        export_adapter(
            outcome.edits,
            bench.anatomy,
            target,
            base_name=bench.chat.name,
            revision=bench.chat.revision,
            certificates=outcome.certificates,
            extra_files=card,
        )
    prompts = [prompt.text for prompt in bench.splits["capability"].select[:8]]
    record: dict[str, Any] = {"format": format_, "folder": str(target), "prompts": len(prompts)}
    try:
        gap = compare_with_memory(bench.chat, bench.anatomy, outcome.edits, target, prompts)
    except (
        ModelError
    ) as error:  # a second copy does not fit beside the base; the tensors' own hashes were checked
        return {**record, "logits_vs_in_place": None, "not_compared": error.message}
    if not gap.in_place <= max(1e-3, 0.05 * gap.scale):
        raise ExportError(
            f"{target}, reloaded, differs from the edit in memory: logits by {gap.in_place:.3g}, "
            f"where the edit itself changes them by {gap.scale:.3g}",
            hint="Do not use this export; run `saber verify` on it, and report this.",
        )
    return {
        **record,
        "logits_vs_in_place": gap.in_place,
        "logits_vs_hooks": gap.hooks,
        "logits_change_of_the_edit": gap.scale,
    }


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
        },
        "prompts": {role: _prompts_row(bench, role) for role in bench.sets},
        "refusal_tokens": _tokens_row(bench),
        "seed": config.seed,
        "device": str(chat.device),
        "dtype": str(chat.dtype).removeprefix("torch."),
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
