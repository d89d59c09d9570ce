"""report.html: one self-contained file, styles and figures inside, that loads nothing from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from saber.report import edit_tables, tables
from saber.report.card import confidence
from saber.report.phrases import mean, number, rate
from saber.report.plots import Plot
from saber.report.rows import UNKNOWN, Evidence


def report_page(evidence: Evidence, plots: Sequence[Plot]) -> str:
    """Renders report.html; all text is escaped.

    Args:
        evidence: The run.
        plots: Figures, embedded as data URIs.
    """
    environment = Environment(
        loader=PackageLoader("saber.report"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("page.html.j2").render(
        e=evidence,
        plots={plot.name: plot for plot in plots},
        tables=tables,
        edits=edit_tables,
        rate=rate,
        mean=mean,
        number=number,
        licence_unknown=evidence.model.license == UNKNOWN,
        confidence=confidence(evidence),
    )


def _data_uri(png: bytes) -> str:
    """A PNG as a URI that holds its own bytes."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
