"""Jacobians of the stream with respect to every parameter that has an axis along d_model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

Side = tuple[str, int]
"""A parameter and one of its axes of length d_model."""


def sides(parameters: Mapping[str, Tensor], d_model: int) -> list[Side]:
    """Every (parameter, axis) that could lie along the stream."""
    return [
        (name, axis)
        for name, parameter in parameters.items()
        for axis, size in enumerate(parameter.shape)
        if size == d_model
    ]


def reading(stream: Float[Tensor, "*places d_model"]) -> Float[Tensor, ""]:
    """One number that depends on every coordinate; weighted, because behind a LayerNorm the plain sum is constant."""
    total: Tensor = (stream * torch.linspace(-1, 2, stream.shape[-1])).sum()
    return total


def jacobians(
    stream: Float[Tensor, "places d_model"],
    parameters: Mapping[str, Tensor],
    rows: Int[Tensor, " rows"],
    generator: torch.Generator,
) -> dict[Side, Float[Tensor, "places rows d_model"]]:
    """M[t, i, j] = sum over the other axes of (random number) * d stream[t, rows[i]] / d W[.., j, ..].

    Args:
        stream: What a block returns, with its graph.
        parameters: Parameters by name.
        rows: Sampled coordinates of the stream.
        generator: For the random numbers, which are the same at every place.
    """
    places, d_model = stream.shape
    mixes = {side: _mix(parameters[side[0]], side[1], generator) for side in sides(parameters, d_model)}
    found = {side: torch.zeros(places, len(rows), d_model) for side in mixes}
    for place in range(places):
        # One batch a place bounds the memory: rows times the parameters' size.
        gradients = _gradients(stream[place, rows], list(parameters.values()))
        by_name = dict(zip(parameters, gradients, strict=True))
        for (name, axis), mix in mixes.items():
            gradient = by_name[name]
            if gradient is not None:
                flat = gradient.movedim(axis + 1, -1).reshape(len(rows), -1, d_model)
                found[name, axis][place] = torch.einsum("o,roj->rj", mix, flat)
    return found


def _gradients(outputs: Float[Tensor, " rows"], parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients of every output, stacked along a first axis; None where there is no path."""
    if not parameters:
        return []
    try:
        return list(
            torch.autograd.grad(
                outputs,
                parameters,
                torch.eye(len(outputs), dtype=outputs.dtype),
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=True,
            )
        )
    except RuntimeError:
        # A custom autograd function without a rule for batches.
        single = [
            torch.autograd.grad(output, parameters, retain_graph=True, allow_unused=True)
            for output in outputs
        ]
        return [None if grads[0] is None else torch.stack(grads) for grads in zip(*single, strict=True)]


def _mix(parameter: Tensor, axis: int, generator: torch.Generator) -> Float[Tensor, " others"]:
    """Random numbers that contract every axis but one; 1 where there is no other."""
    others = parameter.numel() // parameter.shape[axis]
    return torch.ones(1) if others == 1 else torch.randn(others, generator=generator)
