"""Comparison of what was discovered with what is expected."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from saber.model.discovery import Discovery, Found
from tests.zoo.spec import Architecture, Line, expected, parse


def compare(architecture: Architecture, model: nn.Module, discovery: Discovery) -> list[str]:
    """Every difference in words; empty if discovery is exactly as expected."""
    problems = []
    if discovery.layers != architecture.layers:
        problems.append(f"layers are {discovery.layers}, not {architecture.layers}")
    if discovery.streams != architecture.streams:
        problems.append(f"{discovery.streams} streams, not {architecture.streams}")
    parameters = dict(model.named_parameters())
    inside = f"{discovery.layers}."
    outer = {name: p for name, p in parameters.items() if not name.startswith(inside)}
    problems += _differences(expected(architecture.inputs, outer).values(), discovery, None, "")
    troubled = {text.split(":")[0] for text in discovery.unexplained}
    known = {line.name for line in parse(architecture.unexplained)} & (troubled - set(parameters))
    for layer in range(discovery.n_layers):
        prefix = f"{inside}{layer}."
        own = {name.removeprefix(prefix): p for name, p in parameters.items() if name.startswith(prefix)}
        unexplained = expected(architecture.unexplained, own, layer)
        known |= {f"{prefix}{name}" for name in unexplained}
        wanted = expected(architecture.writers, own, layer)
        lines = [line for name, line in wanted.items() if name not in unexplained]
        problems += _differences(lines, discovery, layer, prefix)
    problems += [f"surplus among the unexplained: {name}" for name in sorted(troubled - known)]
    problems += [f"missing among the unexplained: {name}" for name in sorted(known - troubled)]
    return problems


def _differences(wanted: Iterable[Line], discovery: Discovery, layer: int | None, prefix: str) -> list[str]:
    found = {_line(writer, prefix) for writer in discovery.found if writer.layer == layer}
    place = prefix or "inputs: "
    return [
        *(f"missing {place}{line}" for line in sorted(set(wanted) - found)),
        *(f"surplus {place}{line}" for line in sorted(found - set(wanted))),
    ]


def _line(writer: Found, prefix: str) -> Line:
    gains = tuple((gain.parameter.removeprefix(prefix), gain.offset) for gain in writer.gains)
    return Line(writer.name.removeprefix(prefix), writer.form, writer.axis, gains, writer.centred)
