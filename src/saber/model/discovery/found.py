"""What discovery finds: every parameter that writes to the residual stream, and the norms behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saber.model.weights import read_weight

Form = Literal["matrix", "experts", "bias", "expert_bias", "embedding"]
"""Shape of a writer: (d_model, n) or (n, d_model); (E, .., ..); (d_model,); (E, d_model); a table (V, d_model)."""


@dataclass(frozen=True)
class Gain:
    """One norm (or other vector scale) between a writer's raw output and the residual stream.

    Attributes:
        parameter: Runtime parameter name, such as "model.layers.0.post_attention_layernorm.weight".
        offset: The effective gain is `offset + parameter` (1 for Gemma 1-3 and Qwen3-Next).
    """

    parameter: str
    offset: float


@dataclass(frozen=True)
class Found:
    """A parameter whose output is added to the residual stream.

    Attributes:
        name: Runtime parameter name, as in `model.named_parameters()`.
        layer: 0-based block index; None for what makes the stream's first value (embeddings, learned positions,
            biases of their norms).
        axis: Axis of the parameter along d_model.
        form: What the other axes are.
        gains: Norms between the raw output and the add, in order; empty if none has a gain.
        centred: A mean-subtracting LayerNorm stands behind the writer.
        stream: The first of several parallel streams (AltUp, hyper-connections) that it writes to.
    """

    name: str
    layer: int | None
    axis: int
    form: Form
    gains: tuple[Gain, ...]
    centred: bool
    stream: int = 0


@dataclass(frozen=True)
class Discovery:
    """Where a decoder's residual stream is written.

    Attributes:
        layers: Name of the module list that holds the blocks, such as "model.layers".
        decoder: Name of the module that runs the blocks and can be called with `input_ids`.
        d_model: Width of the residual stream.
        n_layers: Number of blocks.
        streams: Number of parallel streams; 1 normally.
        found: Writers in the order of the data: those of the stream's first value, then the blocks' in layer order.
        unexplained: One readable text for each parameter that writes in a way that no edit of the weight undoes
            exactly, and for what the inputs do not let be tested; it starts with the name and a colon.
    """

    layers: str
    decoder: str
    d_model: int
    n_layers: int
    streams: int
    found: tuple[Found, ...]
    unexplained: tuple[str, ...]


@dataclass(frozen=True)
class Leak:
    """How much of a direction is left in the stream after it was projected out of every writer.

    Attributes:
        worst: Largest |h . d| / |h| over places, streams and layers.
        where: Where that was: "input of layer 0", "output of layer 17".
        per_layer: The largest value at the input of layer 0, then at the output of every layer (n_layers + 1
            values); NaN where a block did not run.
    """

    worst: float
    where: str
    per_layer: tuple[float, ...]


def effective_gain(model: nn.Module, gains: Sequence[Gain]) -> Float[Tensor, " d_model"] | None:
    """Product of the effective gains of norms in series, fp32 on the CPU; None without norms.

    Norms in series act as the product of their gains: z = g2 * (g1 * y / rho1) / rho2.
    """
    gain: Tensor | None = None
    for step in gains:
        vector = step.offset + read_weight(model, step.parameter).detach().float().cpu().flatten()
        gain = vector if gain is None else gain * vector
    return gain


def raw_direction(
    model: nn.Module, found: Found, direction: Float[Tensor, " d_model"]
) -> Float[Tensor, " d_model"]:
    """Unit direction u of a writer's raw output y for which u . y = 0 means d . (what is added) = 0.

    u = C G d / |C G d| with G = diag(gain) and C the removal of the mean where a LayerNorm stands behind the writer:
    d . (g * (y - mean y) / rho) = (C G d) . y / rho (METHOD section 0.2).
    """
    gain = effective_gain(model, found.gains)
    raw = direction.double() if gain is None else direction.double() * gain.double()
    if found.centred:
        raw = raw - raw.mean()
    unit: Tensor = raw / torch.linalg.vector_norm(raw)
    return unit.float()
