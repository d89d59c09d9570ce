"""An edit is data: for each writer `W' = W + left @ right`, with a certificate of what it removed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LowRankEdit:
    """`W' = W + left @ right`, residual stream first whatever the parameter's layout; a bias is one column.

    Attributes:
        writer: Runtime parameter name.
        left: `-A` (d_model x r).
        right: `read @ W` (r x d_in), with a leading expert axis for fused experts. fp32, computed from the base.
        read: The same edit on the raw output, `y' = y + left @ (read @ y)`: what a hook on an expert block needs.
        directions: The written directions `G d_j`, unit (d_model x r): the certificate measures what is left there.
        experts: Experts of a fused block that are edited; None for all. `right` is 0 for the others.
        mode: Input-side mode of `right` (METHOD section 4). Only in M0 is `right` `read @ W`, and only there can the
            edit be read off the raw output.
    """

    writer: str
    left: Float[Tensor, "d_model r"]
    right: Float[Tensor, "*experts r d_in"]
    read: Float[Tensor, "r d_model"]
    directions: Float[Tensor, "d_model r"]
    experts: tuple[int, ...] | None = None
    mode: str = "M0"

    def weighted(self, alpha: Float[Tensor, " r"]) -> LowRankEdit:
        """The same edit with a factor on each of its components."""
        own = alpha.to(self.right)[:, None]
        return replace(self, right=(own * self.right).contiguous(), read=(own * self.read).contiguous())

    def delta(self) -> Float[Tensor, "*experts d_model d_in"]:
        """`left @ right`, fp32."""
        return self.left @ self.right


@dataclass(frozen=True)
class Certificate:
    """What an edit did to one writer, measured on the weights after rounding to their own type.

    Attributes:
        writer: Runtime parameter name.
        component_left: `max_j |(G d_j)^T W'| / |(G d_j)^T W|`, worst direction.
        wanted_left: The same ratio before rounding: 0 at full strength.
        relative_norm: `|W' - W| / |W|` (Frobenius).
        rank: Rank of the edit.
        mode: Input-side mode; only in M0 is 0 the goal of `wanted_left` at full strength.
    """

    writer: str
    component_left: float
    wanted_left: float
    relative_norm: float
    rank: int
    mode: str = "M0"


@dataclass(frozen=True)
class EditSet:
    """All low-rank edits of one edited model, and the base that they belong to.

    Attributes:
        edits: By writer name.
        base_sha256: Hash of the base's edited writers (`writers_hash`); applying elsewhere is an error.
    """

    edits: Mapping[str, LowRankEdit]
    base_sha256: str

    def __len__(self) -> int:
        return len(self.edits)

    def __iter__(self) -> Iterator[LowRankEdit]:
        return iter(self.edits.values())

    @property
    def sha256(self) -> str:
        """Hash of all factors, in writer order."""
        digest = hashlib.sha256(self.base_sha256.encode())
        for name in sorted(self.edits):
            edit = self.edits[name]
            for part in (edit.left, edit.right):
                digest.update(part.contiguous().cpu().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
