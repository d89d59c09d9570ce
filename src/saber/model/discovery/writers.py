"""Which parameters of a module write to the residual stream that it returns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saber.model.discovery.diagonal import Diagonal, agreed_diagonal, may_write, stands_out
from saber.model.discovery.found import Form
from saber.model.discovery.gains import explain
from saber.model.discovery.jacobian import Side, jacobians, reading

ROWS = 24
"""Sampled coordinates of the stream: three times the largest rank, so that a diagonal stands out."""
SCREEN = 12
"""Sampled coordinates of the first look that spares most readers, whose gradients are the dear ones, the whole test."""
GATED = 0.05
"""Change of a matrix's diagonal between tokens from which something gates what it writes. Measured on the zoo: writers
up to 0.001 (0.02 in a block that other paths disturb), gates near 1."""
BIAS = 0.01
"""Change of a vector's diagonal below which it is a bias and not a scale. Narrower, because a scale of (output + bias)
changes little where the bias is large."""
_OWN_STREAM = 0.01
"""Least share of its strongest effect that a parameter has on a stream it writes to."""


@dataclass(frozen=True)
class Verdict:
    """A parameter that writes, by its name within the tested module.

    Attributes:
        name: Parameter name.
        axis: Axis along d_model.
        form: What the other axes are.
        gains: Names and offsets of the norms behind it, in order.
        centred: A LayerNorm stands behind it.
        stream: First parallel stream that it writes to.
        trouble: Why no edit of the weight undoes exactly what it writes; empty if one does.
    """

    name: str
    axis: int
    form: Form
    gains: tuple[tuple[str, float], ...] = ()
    centred: bool = False
    stream: int = 0
    trouble: str = ""


def judge(
    stream: Float[Tensor, "places d_model"], parameters: Mapping[str, Tensor], seed: int
) -> list[Verdict]:
    """Every parameter that writes to a stream.

    Args:
        stream: What a module returns at a few places, with its graph.
        parameters: The module's parameters by name.
        seed: Of the sampled coordinates and the random contractions.
    """
    generator = torch.Generator().manual_seed(seed)
    d_model = stream.shape[-1]
    rows = torch.randperm(d_model, generator=generator)[: min(ROWS, d_model // 2)]
    screened = jacobians(stream[-1:], parameters, rows[:SCREEN], generator)
    kept = {name for (name, _), jacobian in screened.items() if may_write(jacobian[0], rows[:SCREEN])}
    tested = {name: parameter for name, parameter in parameters.items() if name in kept}
    found = jacobians(stream, tested, rows, generator)
    return _verdicts(found, tested, rows, _tables(stream, tested))


def located(
    verdicts: list[Verdict],
    streams: Float[Tensor, "streams places d_model"],
    parameters: Mapping[str, Tensor],
) -> list[Verdict]:
    """The same verdicts with the first of several parallel streams that each parameter writes to."""
    if len(streams) == 1 or not verdicts:
        return verdicts
    written = [parameters[verdict.name] for verdict in verdicts]
    sizes = torch.zeros(len(streams), len(verdicts))
    for index, stream in enumerate(streams):
        gradients = torch.autograd.grad(reading(stream), written, retain_graph=True, allow_unused=True)
        for i, (verdict, gradient) in enumerate(zip(verdicts, gradients, strict=True)):
            if gradient is not None:
                sizes[index, i] = gradient.select(verdict.axis, 0).norm()
    # A write reaches the other streams too, through what is read from its own, but only with O(1/SCALE).
    written_to = sizes > _OWN_STREAM * sizes.amax(0)
    return [
        replace(verdict, stream=int(written_to[:, i].int().argmax())) for i, verdict in enumerate(verdicts)
    ]


def with_siblings(
    verdicts: list[Verdict],
    streams: Float[Tensor, "streams places d_model"],
    parameters: Mapping[str, Tensor],
) -> list[Verdict]:
    """Add the experts that no token reached: they write as their siblings in the same module list do."""
    gradients = torch.autograd.grad(
        streams.square().sum(), list(parameters.values()), retain_graph=True, allow_unused=True
    )
    alike = {(_pattern(verdict.name), parameters[verdict.name].shape): verdict for verdict in verdicts}
    complete = {verdict.name: verdict for verdict in verdicts}
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        sibling = alike.get((_pattern(name), parameter.shape))
        if sibling is not None and (gradient is None or not gradient.any()):
            complete.setdefault(name, replace(sibling, name=name))
    return [complete[name] for name in parameters if name in complete]


def _verdicts(
    found: Mapping[Side, Tensor],
    parameters: Mapping[str, Tensor],
    rows: Int[Tensor, " rows"],
    tables: set[str],
) -> list[Verdict]:
    diagonals = {
        side: diagonal
        for side, jacobian in found.items()
        if (diagonal := agreed_diagonal(jacobian, rows)) is not None
    }
    vectors = [side for side in diagonals if _is_vector(parameters, side)]
    vectors.sort(key=lambda side: -round(_spread(found[side], rows), 2))
    gains = {name: parameters[name] for name, _ in vectors}
    experts = {_owner(name): parameters[name].shape[0] for name, _ in diagonals if parameters[name].ndim == 3}
    verdicts = [
        _verdict(side, diagonal, _form(side, parameters, tables, experts), gains, rows)
        for side, diagonal in diagonals.items()
        # A norm's own weight has a diagonal too, the normed activation, which differs from token to token.
        if not _is_scale(parameters, side, diagonal)
    ]
    used = {gain for verdict in verdicts for gain, _ in verdict.gains}
    drowned = "it writes, but the block reads that again before any norm quiets it: its gain cannot be told"
    return [
        # A scale on (output + large bias) looks almost like a bias; what others have it for decides.
        *(verdict for verdict in verdicts if not (verdict.trouble and verdict.name in used)),
        *(
            Verdict(side[0], side[1], "matrix", trouble=drowned)
            for side, jacobian in found.items()
            if side not in diagonals and stands_out(jacobian, rows)
        ),
    ]


def _verdict(
    side: Side,
    diagonal: Diagonal,
    form: Form | None,
    vectors: Mapping[str, Tensor],
    rows: Int[Tensor, " rows"],
) -> Verdict:
    name, axis = side
    if form is None:
        return Verdict(name, axis, "matrix", trouble="writes along the first of three axes (a convolution)")
    if diagonal.change > GATED:
        trouble = "what it writes is gated or convolved, differently at every token"
        return Verdict(name, axis, form, trouble=trouble)
    explanation = explain(diagonal.values, vectors, rows)
    if not explanation.holds:
        nearest = " * ".join(gain for gain, _ in explanation.gains) or "none"
        trouble = f"no norms explain its gain (nearest: {nearest}, off by {explanation.error:.1%})"
        return Verdict(name, axis, form, trouble=trouble)
    return Verdict(name, axis, form, explanation.gains, diagonal.centred)


def _form(
    side: Side, parameters: Mapping[str, Tensor], tables: set[str], experts: Mapping[str, int]
) -> Form | None:
    name, axis = side
    shape = parameters[name].shape
    if _is_vector(parameters, side):
        return "bias"
    if len(shape) == 2:
        if axis == 1 and name in tables:
            return "embedding"
        # (E, d_model) beside experts (E, .., ..) is their bias, not a matrix with E inputs.
        return "expert_bias" if axis == 1 and experts.get(_owner(name)) == shape[0] else "matrix"
    return "experts" if len(shape) == 3 and axis > 0 else None


def _tables(stream: Float[Tensor, "places d_model"], parameters: Mapping[str, Tensor]) -> set[str]:
    """Names of two-axis parameters of which one place uses one row: lookup tables."""
    tables = {name: parameter for name, parameter in parameters.items() if parameter.ndim == 2}
    if not tables:
        return set()
    gradients = torch.autograd.grad(
        reading(stream[-1]), list(tables.values()), retain_graph=True, allow_unused=True
    )
    return {
        name
        for name, gradient in zip(tables, gradients, strict=True)
        if gradient is not None and int(gradient.abs().sum(1).count_nonzero()) == 1
    }


def _spread(jacobian: Float[Tensor, "places rows d_model"], rows: Int[Tensor, " rows"]) -> float:
    """Share of a Jacobian off the sampled columns: it orders norms in series.

    0 for the last scale before the stream, more for one behind which another norm follows.
    """
    others = torch.ones(jacobian.shape[-1], dtype=torch.bool)
    others[rows] = False
    return float(jacobian[..., others].norm() / jacobian.norm())


def _is_scale(parameters: Mapping[str, Tensor], side: Side, diagonal: Diagonal) -> bool:
    """Whether a parameter multiplies coordinates, token by token: a norm's weight, a depthwise convolution's kernel."""
    parameter = parameters[side[0]]
    if _is_vector(parameters, side):
        return diagonal.change > BIAS
    return parameter.ndim == 3 and side[1] == 0 and diagonal.change > GATED


def _is_vector(parameters: Mapping[str, Tensor], side: Side) -> bool:
    parameter = parameters[side[0]]
    return parameter.numel() == parameter.shape[side[1]]


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _pattern(name: str) -> str:
    """A parameter name with its positions in module lists left open."""
    return re.sub(r"(^|\.)\d+(?=\.)", r"\1*", name)
