"""What each command does once its options are read: one library call, then what a person wants to know."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from saber.cli.console import Screen, emit, stdout
from saber.config import ExportConfig, RunConfig, Section
from saber.errors import ExportError, SaberError
from saber.watch import Silent, Watch


def run(
    model: str, config: RunConfig, text: str, *, out: Path | None, resume: bool, json: bool, quiet: bool
) -> None:
    """`saber run`."""
    from saber.cli.job import default_folder, run_job
    from saber.cli.summary import print_summary

    require_resumable(config, resume, "run")
    with own_place(config, out or default_folder(model), Screen(quiet=quiet)) as (folder, watch, speaks):
        # One copy of the model is enough: the other processes measure only.
        own = config if speaks else config.model_copy(update={"export": ExportConfig(format="none")})
        result = run_job(model, own, text, folder, resume=resume, watch=watch)
    if speaks and not (quiet and json):
        print_summary(result)
    if speaks and json:
        emit(result)


def require_resumable(config: RunConfig, resume: bool, job: str) -> None:
    """Refuse to resume what several processes did together.

    Raises:
        SaberError: It was asked for.
    """
    if config.model.tensor_parallel and resume:
        raise SaberError(
            f"a {job} that is divided among processes cannot be resumed: only the first keeps what was measured",
            hint="Start it again with another --out.",
        )


@contextmanager
def own_place(config: RunConfig, folder: Path, screen: Screen) -> Iterator[tuple[Path, Watch, bool]]:
    """Folder and screen of this process; of those that share a divided model, only the first speaks and writes."""
    if not config.model.tensor_parallel:
        yield folder, screen, True
        return
    from saber.model.placement import rank

    if rank() == 0:
        yield folder, screen, True
        return
    with TemporaryDirectory() as elsewhere:
        yield Path(elsewhere) / "run", Silent(), False


def probe(model: str, config: RunConfig, text: str, *, out: Path | None, json: bool, quiet: bool) -> None:
    """`saber probe`."""
    from saber.cli.job import default_folder, probe_job
    from saber.cli.summary import print_directions

    screen = Screen(quiet=quiet)
    result = probe_job(model, config, text, out or default_folder(model), watch=screen)
    if not (quiet and json):
        print_directions(result)
    if json:
        emit(result)


def coverage(model: str, config: RunConfig, *, json: bool) -> None:
    """`saber coverage`: built on the meta device, no weights are read."""
    from dataclasses import asdict

    from saber.cli.summary import print_coverage
    from saber.model.anatomy import coverage as rows_of
    from saber.model.anatomy import require_understood
    from saber.model.examine import examine
    from saber.model.load import skeleton
    from saber.model.locate import locate
    from saber.model.survey import leak_record

    folder, _ = locate(model, weights=False)
    bare = skeleton(folder, model, config.model)
    anatomy = examine(bare)
    record = {
        "family": anatomy.family,
        "class": type(bare).__name__,
        "layers": anatomy.n_layers,
        "blocks": anatomy.layers,
        "d_model": anatomy.d_model,
        "rows": [asdict(row) for row in rows_of(anatomy, config.ablation.writers)],
        "leak": leak_record(anatomy.leak),
        "intrinsic": anatomy.intrinsic,
    }
    if json:
        emit(record)
    else:
        print_coverage(record)
    require_understood(anatomy, strict=config.model.strict)


def apply(edit: Path, model: str, out: Path, *, json: bool) -> None:
    """`saber apply`."""
    from saber.export.apply import apply_edit
    from saber.model.locate import locate

    folder, _ = locate(model)
    with Screen(quiet=json).stage("write the edited checkpoint") as step:
        report = apply_edit(edit, folder, out, extra_files=_card_of(edit), progress=step)
    # An edit that reads its input in another mode than M0 leaves most of a component, rightly.
    worst = max((row.component_left for row in report.certificates if row.mode == "M0"), default=None)
    _say(
        json,
        {"checkpoint": str(out), "edit_sha256": report.edit_sha256, "component_left": worst},
        f"edited checkpoint: {out}",
    )


def _card_of(edit: Path) -> dict[str, str]:
    """The model card of a finished run, so that an edited checkpoint never goes without one."""
    from saber.cli.releasing import card_of
    from saber.store import RunFolder

    return {"README.md": card_of(RunFolder(edit))} if RunFolder(edit).finished else {}


def undo(folder: Path, out: Path, *, json: bool) -> None:
    """`saber undo`."""
    from saber.export.undo import undo as rebuild

    with Screen(quiet=json).stage("rebuild the base"):
        rebuild(folder, out)
    _say(json, {"base": str(out)}, f"base model, every file as it was: {out}")


def export(run_folder: Path, out: Path, format_: str, *, point: int | None, json: bool) -> None:
    """`saber export`."""
    from saber.cli.releasing import export_job

    if format_ not in ("checkpoint", "adapter", "dequantised"):
        raise ExportError(f"unknown format {format_!r}", hint="--format checkpoint, adapter or dequantised")
    with Screen(quiet=json).stage(f"write the {format_}") as step:
        export_job(run_folder, out, format_, step, point=point)
    _say(json, {format_: str(out)}, f"{format_}: {out}")


def verify(folder: Path, *, json: bool) -> None:
    """`saber verify`."""
    from saber.export.verify import verify as check

    with Screen(quiet=json).stage("verify"):
        report = check(folder)
    rows = [{"check": row.name, "ok": row.ok, "detail": row.detail} for row in report.checks]
    if json:
        emit({"folder": str(folder), "ok": report.ok, "checks": rows})
    else:
        marks = {True: "[green]ok[/]", False: "[red]FAILED[/]", None: "[yellow]not checked[/]"}
        for row in report.checks:
            stdout.print(f"{row.name}: {marks[row.ok]}", soft_wrap=True, end=" ")
            stdout.print(row.detail, markup=False, soft_wrap=True)
    if not report.ok:
        failed = ", ".join(row.name for row in report.checks if row.ok is False)
        raise ExportError(f"{folder} does not verify: {failed}", hint="Export it again from its run.")


def report(run_folder: Path, *, json: bool) -> None:
    """`saber report`."""
    from saber.report.build import rebuild_report

    page = rebuild_report(run_folder)
    _say(json, {"report": str(page)}, f"report: {page}")


def push(folder: Path, repo: str, *, public: bool) -> None:
    """`saber push`."""
    from saber.export.hub import push as upload

    address = upload(folder, repo, private=not public)
    stdout.print(address, soft_wrap=True)


def config(preset: str | None) -> None:
    """`saber config`."""
    from saber.settings import presets, resolve

    settings, _ = resolve(preset=preset)
    lines = [f"# Presets: {', '.join(presets())}", f"seed = {settings.seed}"]
    for name, section in settings:
        if not isinstance(section, Section):
            continue
        lines += ["", f"[{name}]  # {(type(section).__doc__ or '').strip()}"]
        for key, value in section:
            meaning = " ".join((type(section).model_fields[key].description or "").split())
            lines.append(f"{key} = {_shown(value)}  # {meaning}")
    sys.stdout.write("\n".join(lines) + "\n")


def _shown(value: Any) -> str:
    from saber.settings import toml_value

    return toml_value(value)


def _say(json: bool, record: dict[str, Any], text: str) -> None:
    if json:
        emit(record)
    else:
        stdout.print(text, soft_wrap=True)
