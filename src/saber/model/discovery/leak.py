"""The proof that no writer is missing: project one direction out of all of them and look for it in the stream."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saber.errors import AnatomyError
from saber.model.discovery.chain import Chain, follow
from saber.model.discovery.found import Discovery, Found, Leak, raw_direction


def leak_test(
    model: nn.Module,
    inputs: Mapping[str, Any],
    discovery: Discovery,
    *,
    seed: int = 0,
    use_gains: bool = True,
) -> Leak:
    """Project a random direction out of every found writer, run once, and measure what is left in the stream.

    The model is the same afterwards, bit by bit. In fp32 rounding leaves 1e-7; more than 1e-6 is a writer that was
    missed, a gain that is wrong, or a path that no weight writes.

    Args:
        model: The model that the discovery was made on, in fp32.
        inputs: Keyword arguments of one forward pass.
        discovery: What was found.
        seed: Of the random direction.
        use_gains: Mind the norms behind the writers; False measures the naive edit.

    Raises:
        AnatomyError: The stream is not finite.
    """
    direction = torch.randn(discovery.d_model, generator=torch.Generator().manual_seed(seed))
    direction /= direction.norm()
    with _projected(model, discovery.found, direction, use_gains):
        chain = follow(model, inputs, discovery.layers, discovery.d_model)
    per_layer = _left(chain, direction)
    worst, index = max((value, -i) for i, value in enumerate(per_layer) if not math.isnan(value))
    where = f"output of layer {-index - 1}" if index else "input of layer 0"
    return Leak(worst, where, tuple(per_layer))


@contextmanager
def _projected(
    model: nn.Module, found: Sequence[Found], direction: Float[Tensor, " d_model"], use_gains: bool
) -> Iterator[None]:
    """The model without one direction in what its writers add; restored bit by bit afterwards."""
    parameters = {writer.name: model.get_parameter(writer.name) for writer in found}
    raw = [raw_direction(model, writer, direction) if use_gains else direction for writer in found]
    saved = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        for writer, u in zip(found, raw, strict=True):
            parameter = parameters[writer.name]
            parameter.data.copy_(_without(parameter.data, writer.axis, u))
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data.copy_(saved[name])


def _without(parameter: Tensor, axis: int, direction: Float[Tensor, " d_model"]) -> Tensor:
    """W' = (I - u u^T) W along one axis, in float64."""
    u = direction.double().to(parameter.device)
    last = parameter.double().movedim(axis, -1)
    return (last - (last @ u)[..., None] * u).movedim(-1, axis).to(parameter.dtype)


def _left(chain: Chain, direction: Float[Tensor, " d_model"]) -> list[float]:
    """Largest |h . d| / |h| at the input of the first block and at the output of every block."""

    def share(stream: Float[Tensor, "streams places d_model"]) -> float:
        stream = stream.float().cpu()
        if not stream.isfinite().all():
            raise AnatomyError(
                f"numbers in {chain.layers} are not finite on a small random model, so no leak can be measured",
                hint="Nothing is edited while a writer may be missing; report the architecture.",
            )
        lengths = torch.linalg.vector_norm(stream, dim=-1).clamp_min(torch.finfo(stream.dtype).tiny)
        return float(((stream @ direction).abs() / lengths).max())

    left = [share(chain.entry())]
    for calls in chain.calls:
        left.append(
            max((share(chain.by_stream(call.outputs[chain.port])) for call in calls), default=math.nan)
        )
    return left
