"""`saber search`: the front, its report, and the recommended point's model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saber.cli.commands import own_place, require_resumable
from saber.cli.console import Screen, emit
from saber.cli.exporting import Edited, check_export, export_run, own_weights, save_edit_of
from saber.cli.front_table import print_search
from saber.cli.job import SEARCH, add_cost, begun, check_resumed, default_folder, manifest_of, require_kind
from saber.cli.releasing import card_of
from saber.config import ExportConfig, RunConfig
from saber.errors import ConfigError
from saber.report.build import build_search_report
from saber.search.drive import Found, check_search, search
from saber.store import RunFolder, read_json, write_json
from saber.watch import Watch

_FREE = ("search.points", "search.budget_minutes", "search.ray", "search.workers")
"""Settings that an interrupted search may change: what was measured stays true."""


def search_command(
    model: str, config: RunConfig, text: str, *, out: Path | None, resume: bool, json: bool, quiet: bool
) -> None:
    """`saber search`."""
    require_resumable(config, resume, "search")
    check_search(config)
    _check_places(config)
    with own_place(config, out or default_folder(model), Screen(quiet=quiet)) as (folder, watch, speaks):
        own = config if speaks else config.model_copy(update={"export": ExportConfig(format="none")})
        result = search_job(model, own, text, folder, resume=resume, watch=watch)
    if speaks and not (quiet and json):
        print_search(result)
    if speaks and json:
        emit(result)


def _check_places(config: RunConfig) -> None:
    section = config.search
    if section.workers and not section.ray:
        raise ConfigError(
            f"{section.workers} workers were asked for, and no Ray cluster for them to work on",
            hint="Add --ray local (or auto, or an address), or leave out --workers.",
        )
    if config.model.tensor_parallel and (section.ray or section.storage):
        given = "--ray" if section.ray else "--storage"
        raise ConfigError(
            f"model.tensor_parallel divides one model among processes, each of which would use {given} for itself",
            hint=f"Leave out {given}, or set model.tensor_parallel=false.",
        )


def search_job(
    model: str, config: RunConfig, text: str, out: Path, *, resume: bool, watch: Watch
) -> dict[str, Any]:
    """Everything that a search's folder holds.

    Returns:
        What a person or a script wants to know of the search.
    """
    started = time.perf_counter()
    folder = RunFolder.create(out, resume=resume)
    require_kind(folder, "search")
    check_resumed(folder, model, config, _FREE)
    if folder.finished:
        return _result(folder, read_json(folder.manifest))
    folder.save_state(SEARCH, model, settings="")
    with begun(folder, config, text, [folder.spectrum, folder.trials, folder.front]):
        check_export(model, config)
        with search(model, config, folder, watch) as found:
            manifest = _finish(folder, found, config, started, watch)
    return _result(folder, manifest)


def _finish(
    folder: RunFolder, found: Found, config: RunConfig, started: float, watch: Watch
) -> dict[str, Any]:
    """Everything behind the evaluation: edit, report, export and, last, the manifest.

    Where no point is feasible there is nothing to recommend, so nothing is exported unasked.
    """
    manifest = manifest_of(found.bench, config, found.timings)
    add_cost(manifest, found.bench, started)
    edited = None
    if found.edits is not None and found.front["recommended"]["feasible"]:
        edited = own_weights(Edited(found.bench, found.edits, found.certificates), config)
        save_edit_of(folder, edited, config)
    with watch.stage("report"):
        build_search_report(folder.path, manifest)
    if edited is not None and config.export.format != "none":
        with watch.stage(f"export the {config.export.format} and verify it") as step:
            card = {"README.md": card_of(folder, manifest=manifest)}
            manifest["export"] = export_run(folder, edited, config, card, step)
    add_cost(manifest, found.bench, started)
    write_json(folder.manifest, manifest)
    return manifest


def _result(folder: RunFolder, manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": str(folder.path),
        "report": str(folder.report),
        "card": str(folder.card),
        "front": read_json(folder.front),
        "evaluation": read_json(folder.evaluation) if folder.evaluation.is_file() else None,
        "export": manifest.get("export"),
        "cost": manifest["cost"],
    }
