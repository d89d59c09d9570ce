"""What an edit reads in a writer's input: all of the direction (M0), or only what preserved inputs lack (M1 to M3).

An edit of a writer `y = W x` is `W' = W - A right`. The standard reader is `right0 = read @ W` (r x K). Every other
mode multiplies it on the right by a matrix `T` (K x K) that the writer's inputs decide and the directions do not, so
the rows stay linear in `read` and strength 1 means the same (METHOD section 4, "input side").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saber.errors import ProbeError

InputMode = Literal["M0", "M1", "M2", "M3"]

LAM = 1.0
"""Weight of preserved inputs against harmful ones."""
MU = 1e-3
"""Ridge relative to the mean eigenvalue of `C_H + lam C_P`."""
ENERGY = 0.99
"""Share of the preserved inputs' mean square that M1 does not touch."""
_ROUNDING = 1e-12
"""Eigenvalues below this share of the largest are rounding."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs x of one writer, one row a token, by role.

    Attributes:
        harmful: H.
        harmless: S, preserved and the zero of the mean shift.
        preserved: What else stays as it is, by role: capability, severe refusals to keep.
        groups: By role, the prompt that each row comes from. Folds keep the rows of a prompt together.
    """

    harmful: Float[Tensor, "n_h K"]
    harmless: Float[Tensor, "n_s K"]
    preserved: Mapping[str, Float[Tensor, "_ K"]]
    groups: Mapping[str, Int[Tensor, " _"]]

    def __post_init__(self) -> None:
        """Check that roles, rows and groups belong together.

        Raises:
            ProbeError: A role has no rows.
            ValueError: Rows without groups, of another width, or a role that is named twice.
        """
        if {"harmful", "harmless"} & set(self.preserved):
            raise ValueError("harmful and harmless inputs are fields of their own")
        for role, x in self.by_role.items():
            if x.shape[1] != self.harmful.shape[1]:
                raise ValueError(f"{role} inputs have {x.shape[1]} channels, harmful {self.harmful.shape[1]}")
            if role not in self.groups or len(self.groups[role]) != len(x):
                raise ValueError(f"each of the {len(x)} {role} rows needs the number of its prompt")
            if len(x) == 0:
                raise ProbeError(
                    f"no inputs of the {role} role: input modes weigh harmful against preserved inputs",
                    hint=f"Give {role} prompts, or read all of the direction: --set ablation.input_mode=M0",
                )

    @property
    def by_role(self) -> dict[str, Tensor]:
        """Rows of every role, harmful first, then the preserved ones."""
        return {"harmful": self.harmful, "harmless": self.harmless, **self.preserved}


@dataclass(frozen=True, eq=False)
class InputMap:
    """What a mode makes of the standard reader: `right0 @ T`, `T = share I + left @ right`.

    Attributes:
        share: Coefficient of the identity: 1 for M0 and M1, 0 for M2 and M3.
        left: K x m, float64.
        right: m x K, float64.
    """

    share: float
    left: Float[Tensor, "K m"]
    right: Float[Tensor, "m K"]

    def rows(self, right0: Float[Tensor, "r K"]) -> Float[Tensor, "r K"]:
        """Rows that replace `right0`, float64 on the CPU."""
        wide = right0.to("cpu", torch.float64)
        return self.share * wide + (wide @ self.left) @ self.right


def input_map(
    inputs: Inputs, *, mode: InputMode, lam: float = LAM, mu: float = MU, energy: float = ENERGY
) -> InputMap:
    """The matrix `T` of a mode, as low-rank factors.

    `C_H = E_H[x x^T]`, uncentred; `C_P` is the mean of `E_p[x x^T]` over the preserved roles p, so a role counts alike
    whatever its number of rows; `S = C_H + lam C_P + mu tr(C_H + lam C_P) / K I`. Rows of the reader:

    - M0: `q = p`, `p = W^T u`.
    - M1: `q = (I - V V^T) p`, V the fewest leading eigenvectors of `C_P` with a share `energy` of its trace
      (AlphaEdit, Fang et al. 2024, arXiv 2410.02355, which cuts at an eigenvalue instead): 0 on inputs in V.
    - M2: `q = S^-1 C_H p`: the least `E_H[(q^T x - p^T x)^2] + lam E_P[(q^T x)^2]`, up to the ridge.
    - M3: `q = S^-1 m_H delta`, `delta = p^T (m_H - m_S)`: the least `E_H[(q^T x - delta)^2] + lam E_P[(q^T x)^2]`.
      All rows are parallel; on harmful inputs they fall short of delta by a factor `t / (1 + t)`,
      `t = m_H^T (S - m_H m_H^T)^-1 m_H`.

    Linear systems have the smaller of K and the number of rows; float64 on the CPU.

    Args:
        inputs: Inputs of the writer.
        mode: Which reader.
        lam: Weight of the preserved inputs.
        mu: Ridge relative to the mean eigenvalue, above 0.
        energy: For M1, above 0 to 1.
    """
    return map_of(Rows.of(inputs), mode=mode, lam=lam, mu=mu, energy=energy)


def input_rows(
    weight: Float[Tensor, "d_model K"],
    read: Float[Tensor, "r d_model"],
    inputs: Inputs,
    *,
    mode: InputMode,
    lam: float = LAM,
    mu: float = MU,
    energy: float = ENERGY,
) -> Float[Tensor, "r K"]:
    """The reader's rows in float32: `read @ W` for M0, else that times the `T` of `input_map`.

    Args:
        weight: The writer's matrix, residual stream first.
        read: What is measured in the writer's raw output (`Operator.read`, strengths included).
        inputs: See `input_map`, also for the options.
        mode: See `input_map`.
        lam: See `input_map`.
        mu: See `input_map`.
        energy: See `input_map`.
    """
    right0 = (read.to(weight.device) @ weight.float()).cpu()
    if mode == "M0":
        return right0
    return input_map(inputs, mode=mode, lam=lam, mu=mu, energy=energy).rows(right0).float()


@dataclass(frozen=True, eq=False)
class Rows:
    """All inputs of a writer, stacked in float64, with the role of each.

    Attributes:
        x: One input a row.
        role: 0 for harmful, 1 for harmless, then the other preserved roles.
        gram: `x x^T` where there are no more rows than channels; None where systems are solved in channels.
    """

    x: Float[Tensor, "n K"]
    role: Int[Tensor, " n"]
    gram: Float[Tensor, "n n"] | None

    @staticmethod
    def of(inputs: Inputs, *, dual: bool | None = None) -> Rows:
        """Stack the inputs; `dual` overrides the choice by size."""
        parts = [part.to("cpu", torch.float64) for part in inputs.by_role.values()]
        x = torch.cat(parts)
        role = torch.cat([torch.full((len(part),), place) for place, part in enumerate(parts)])
        dual = x.shape[0] <= x.shape[1] if dual is None else dual
        return Rows(x, role, x @ x.T if dual else None)

    def subset(self, kept: Bool[Tensor, " n"]) -> Rows:
        """The kept rows, with their part of the Gram matrix."""
        gram = None if self.gram is None else self.gram[kept][:, kept]
        return Rows(self.x[kept], self.role[kept], gram)

    def mean(self, role: int) -> Float[Tensor, " K"]:
        """Mean input of a role."""
        return self.x[self.role == role].mean(0)

    def scales(self, lam: float) -> Float[Tensor, " n"]:
        """Factors b with `C_H + lam C_P = sum_i b_i^2 x_i x_i^T`."""
        counts = torch.bincount(self.role).double()
        weights = torch.full_like(counts, lam / (len(counts) - 1))
        weights[0] = 1.0
        return (weights / counts).sqrt()[self.role]


def map_of(rows: Rows, *, mode: InputMode, lam: float, mu: float, energy: float) -> InputMap:
    """See `input_map`."""
    k = rows.x.shape[1]
    if mode == "M0":
        return InputMap(1.0, rows.x.new_zeros(k, 0), rows.x.new_zeros(0, k))
    if mode == "M1":
        leading = _preserved_space(rows, energy)
        return InputMap(1.0, -leading.T, leading)
    harmful = rows.role == 0
    n_h = int(harmful.sum())
    if mode == "M2":
        targets = torch.eye(len(rows.x), dtype=torch.float64)[harmful] / n_h**0.5
        return InputMap(0.0, rows.x[harmful].T, _ridge(rows, targets, lam, mu))
    mean = harmful.double()[None] / n_h**0.5
    return InputMap(0.0, (rows.mean(0) - rows.mean(1))[:, None], _ridge(rows, mean, lam, mu))


def _ridge(rows: Rows, targets: Float[Tensor, "m n"], lam: float, mu: float) -> Float[Tensor, "m K"]:
    """`targets @ B S^-1`, with B the scaled rows and `S = B^T B + ridge I`; `B S^-1 = (B B^T + ridge I)^-1 B`."""
    scales = rows.scales(lam)
    squares = rows.x.square().sum(1) if rows.gram is None else rows.gram.diagonal()
    ridge = mu * float(scales.square() @ squares) / rows.x.shape[1]
    if rows.gram is None:
        b = scales[:, None] * rows.x
        return _solve(b.T @ b, ridge, (targets @ b).T).T
    return (_solve(scales[:, None] * rows.gram * scales, ridge, targets.T).T * scales) @ rows.x


def _solve(system: Float[Tensor, "d d"], ridge: float, right: Float[Tensor, "d m"]) -> Float[Tensor, "d m"]:
    """`(system + ridge I)^-1 right`; where everything is 0 the ridge is a number that Cholesky bears."""
    system.diagonal().add_(max(ridge, torch.finfo(system.dtype).tiny))
    return torch.cholesky_solve(right, torch.linalg.cholesky(system))


def _preserved_space(rows: Rows, energy: float) -> Float[Tensor, "m K"]:
    """Fewest leading eigenvectors of `C_P` with a share `energy` of its trace, one a row."""
    kept = rows.subset(rows.role > 0)
    scales = rows.scales(1.0)[rows.role > 0]
    b = scales[:, None] * kept.x
    small = b.T @ b if kept.gram is None else scales[:, None] * kept.gram * scales
    values, vectors = torch.linalg.eigh(small)
    values, vectors = values.flip(0), vectors.flip(1)
    real = int((values > _ROUNDING * values[0]).sum())
    share = values[:real].cumsum(0) / values[:real].sum()
    count = min(int((share < energy - _ROUNDING).sum()) + 1, real)
    leading = vectors[:, :count].T
    spanned: Tensor = leading if kept.gram is None else (leading @ b) / values[:count, None].sqrt()
    return spanned
