"""The table of docs/architectures.md, made from what discovery finds on the zoo's models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from saber.model.discovery import Discovery, Found, Leak
from tests.zoo.spec import Architecture

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
HEAD = """| family | writers of a block (`<-` norm behind) | before the first block | leak | remarks |
|---|---|---|---|---|"""
_FORMS = {
    "experts": "experts",
    "bias": "",
    "expert_bias": "one for each expert",
    "embedding": "",
    "matrix": "",
}


@dataclass(frozen=True)
class Seen:
    """What was found on one architecture."""

    architecture: Architecture
    discovery: Discovery
    leak: Leak


def row(name: str, seen: Seen) -> str:
    """One line of the table."""
    inside = f"{seen.discovery.layers}."
    blocks, inputs = [], []
    for found in seen.discovery.found:
        prefix = f"{inside}{found.layer}." if found.layer is not None else ""
        (inputs if found.layer is None else blocks).append(_text(found, prefix))
    remarks = [f"LEAKS BY DESIGN: {seen.architecture.leaks}"] if seen.architecture.leaks else []
    if seen.discovery.streams > 1:
        remarks.append(f"{seen.discovery.streams} parallel streams, read as their mean")
    cells = (
        f"`{name}`",
        "; ".join(dict.fromkeys(blocks)),
        "; ".join(dict.fromkeys(inputs)),
        f"{seen.leak.worst:.0e}" if seen.leak.worst > 1e-6 else "0",
        ". ".join(remarks),
    )
    return f"| {' | '.join(cells)} |"


def _text(found: Found, prefix: str) -> str:
    name = re.sub(r"\.\d+(?=\.|$)", ".N", found.name.removeprefix(prefix).removesuffix(".weight"))
    details = [_FORMS[found.form]] if _FORMS[found.form] else []
    if (found.form, found.axis) in (("matrix", 1), ("experts", 2)):
        details.append(f"d_model on axis {found.axis}")
    gains = []
    for gain in found.gains:
        norm = gain.parameter.removeprefix(prefix).removesuffix(".weight")
        gains.append(f"(1 + {norm})" if gain.offset else norm)
    behind = f" <- {' x '.join(gains)}" if gains else ""
    centred = " (LayerNorm)" if found.centred else ""
    note = f" ({', '.join(details)})" if details else ""
    return f"`{name}{behind}`{centred}{note}"


def table(rows: Iterable[str]) -> str:
    """The whole table."""
    return "\n".join((HEAD, *rows))


def rows_of_page(text: str) -> Mapping[str, str]:
    """Lines of the table that a page holds, by family."""
    inside = text.partition(BEGIN)[2].partition(END)[0]
    lines = [line for line in inside.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: line for line in lines}


def write(lines: Iterable[str], page: Path = PAGE) -> None:
    """Put a new table into the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table(lines)}\n{END}{after}", encoding="utf-8")
