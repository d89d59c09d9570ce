"""The entry point: a run folder gets its figures, its model card and its report page."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from saber.errors import ReportError
from saber.report.card import model_card
from saber.report.findings import read_findings
from saber.report.page import report_page
from saber.report.plots import draw_plots, layers_plot, purity_plot
from saber.report.record import INCOMPLETE, Record
from saber.report.rows import Evidence
from saber.store import RunFolder, atomic_write_bytes, read_json, write_text

NO_EDIT = {
    "directions": [],
    "scope": "none",
    "post_norm": "none",
    "scale": 1.0,
    "layers": [],
    "writers": [],
    "refinement": {"passes": [], "stopped": "nothing was edited"},
}
"""plan.json of a run that only probed."""


def build_report(run: Path, manifest: Mapping[str, object] | None = None) -> Path:
    """Writes plots/*.png, README.md and report.html into a run folder; each appears whole or not at all.

    Nothing is written if any evidence is missing.

    Args:
        run: The folder that `saber run` wrote.
        manifest: The manifest of a run that is just ending; read from the folder when left out.

    Returns:
        The path of report.html.

    Raises:
        StoreError: The folder is no run, or a file is not valid JSON.
        ReportError: A file, or something that a report must state, is missing.
    """
    folder = RunFolder.open(run)
    evidence = read_evidence(folder, manifest)
    plots = draw_plots(evidence)
    card, page = model_card(evidence, plots), report_page(evidence, plots)
    folder.plots.mkdir(exist_ok=True)
    for plot in plots:
        atomic_write_bytes(folder.plots / f"{plot.name}.png", plot.png)
    write_text(folder.card, card)
    write_text(folder.report, page)
    return folder.report


def portable_card(run: Path, manifest: Mapping[str, object] | None = None) -> str:
    """The model card without links to figures: it travels with an exported model."""
    return model_card(read_evidence(RunFolder.open(run), manifest))


def build_probe_plots(run: Path) -> tuple[Path, ...]:
    """Writes the figures of a run that only probed, and returns their paths."""
    folder = RunFolder.open(run)
    spectrum = Record(read_json(folder.spectrum), "spectrum")
    entanglement = Record(read_json(folder.entanglement), "entanglement")
    findings = read_findings(
        spectrum, entanglement, Record(NO_EDIT, "plan"), Record({"certificates": []}, "edit")
    )
    folder.plots.mkdir(exist_ok=True)
    paths = []
    for plot in (layers_plot(findings), purity_plot(findings)):
        paths.append(folder.plots / f"{plot.name}.png")
        atomic_write_bytes(paths[-1], plot.png)
    return tuple(paths)


def read_evidence(folder: RunFolder, manifest: Mapping[str, object] | None = None) -> Evidence:
    """Reads the records of a run folder and checks that a report can be written from them."""
    paths = {
        "evaluation": folder.evaluation,
        "spectrum": folder.spectrum,
        "entanglement": folder.entanglement,
        "plan": folder.plan,
        "edit": folder.edit_record,
        **({} if manifest else {"manifest": folder.manifest}),
    }
    for path in (*paths.values(), folder.resolved_toml):
        if not path.is_file():
            raise ReportError(f"No report without its evidence: {path} does not exist.", hint=INCOMPLETE)
    try:
        settings = tomllib.loads(folder.resolved_toml.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ReportError(f"{folder.resolved_toml} is not valid TOML ({error}).", hint=INCOMPLETE) from None
    files = {name: read_json(path) for name, path in paths.items()}
    return Evidence.read({"manifest": manifest, **files}, settings)
