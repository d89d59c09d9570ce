"""The record of stage 1."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Activations:
    """Residual-stream activations of one role, one vector per prompt and layer.

    Attributes:
        values: Block outputs (`resid_post`) at the read position, fp32 on the CPU (n x layer x d_model).
        keys: Content hash of each prompt, in order.
        position: Where they were read: last, template or answer.
    """

    values: Float[Tensor, "n layer d_model"]
    keys: tuple[str, ...]
    position: str
