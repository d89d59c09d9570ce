"""The coverage table: residual writers by kind of layer, what happens to each, and why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from saber.report.phrases import spans

Row = Mapping[str, Any]
"""A `CoverageRow` as a dictionary."""


@dataclass(frozen=True)
class LayerKind:
    """Layers whose writers are alike.

    Attributes:
        layers: Their indices; empty for what writes the stream's first value.
        rows: Rows of the first of them; names without the layer's prefix.
    """

    layers: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """`layers 0-2, 4 (4 layers)`."""
        if not self.layers:
            return "before the first layer"
        count = f"{len(self.layers)} layers" if len(self.layers) > 1 else "1 layer"
        return f"{'layers' if len(self.layers) > 1 else 'layer'} {spans(self.layers)} ({count})"


def layer_kinds(rows: Iterable[Row], layers: str) -> list[LayerKind]:
    """Group rows by layer, and layers by what their rows say.

    Args:
        rows: Rows of the coverage table.
        layers: Name of the module list that holds the layers.
    """
    by_layer: dict[int | None, list[Row]] = {}
    for row in rows:
        by_layer.setdefault(row["layer"], []).append(_relative(row, layers))
    alike: dict[tuple[Any, ...], list[int | None]] = {}
    for layer, found in by_layer.items():
        key = tuple(tuple(str(value) for value in row.values()) for row in found)
        alike.setdefault((layer is None, *key), []).append(layer)
    return [
        LayerKind(tuple(layer for layer in same if layer is not None), tuple(by_layer[same[0]]))
        for same in alike.values()
    ]


def _relative(row: Row, layers: str) -> Row:
    """The row as it would read in any layer of its kind; fused indices such as experts' stay."""
    if row["layer"] is None:
        return {**row, "disk": "" if row["disk"] == row["name"] else row["disk"]}
    number = f".{row['layer']}."
    disk = row["disk"].partition(number)[2] if number in row["disk"] else row["disk"]
    name = row["name"].removeprefix(f"{layers}{number}")
    return {**row, "name": name, "disk": "" if disk == name else disk, "layer": 0}


def line(row: Row) -> str:
    """One row in words: `self_attn.o_proj.weight: attention, 128 x 128, d_model on axis 0, behind norm`."""
    parts = [row["kind"]]
    if row["shape"]:
        parts.append(" x ".join(str(size) for size in row["shape"]))
    if row["axis"] is not None:
        parts.append(f"axis {row['axis']}")
    if row["gain"]:
        parts.append(f"behind {row['gain']}")
    if row["disk"]:
        parts.append(f"on disk {row['disk']}")
    reason = f": {row['reason']}" if row["reason"] else ""
    return f"{row['name']} ({', '.join(parts)}){reason}"


def totals(rows: Iterable[Row]) -> str:
    """`24 edited, 1 skipped, 0 unknown`."""
    found = [row["status"] for row in rows]
    return ", ".join(f"{found.count(status)} {status}" for status in ("edited", "skipped", "unknown"))


def leak_line(leak: Mapping[str, Any], intrinsic: str) -> str:
    """What is left of a direction in the twin's stream, in words."""
    measured = f"leak test: {leak['worst']:.1e} of the stream at the {leak['where']}"
    return f"{measured}; it leaks by design: {intrinsic}" if intrinsic else measured
