"""The projection that removes directions from a residual writer, exact behind post-norms (METHOD section 0.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

PostNorm = Literal["ridge", "least_change", "direction", "naive"]


@dataclass(frozen=True)
class Operator:
    """`W' = W - write @ (read @ W)`.

    Attributes:
        write: What is subtracted, `A R^-T` (d_model x r).
        read: What is measured in the writer's raw output, `diag(alpha) (G D)^T` (r x d_model).
    """

    write: Float[Tensor, "d_model r"]
    read: Float[Tensor, "r d_model"]

    def weighted(self, alpha: Float[Tensor, " r"]) -> Operator:
        """The same operator with strengths: what each direction loses is linear in its own alpha alone."""
        return Operator(self.write, alpha[:, None].to(self.read) * self.read)


def ablation_operator(
    basis: Float[Tensor, "d_model r"],
    alpha: Float[Tensor, " r"],
    gain: Float[Tensor, " d_model"] | None = None,
    *,
    centred: bool = False,
    post_norm: PostNorm = "ridge",
    ridge: float = 0.03,
) -> Operator:
    """Operator that removes the share `alpha_j` of what a writer adds along each basis vector: see `unit_operator`."""
    return unit_operator(basis, gain, centred=centred, post_norm=post_norm, ridge=ridge).weighted(alpha)


def unit_operator(
    basis: Float[Tensor, "d_model r"],
    gain: Float[Tensor, " d_model"] | None = None,
    *,
    centred: bool = False,
    post_norm: PostNorm = "ridge",
    ridge: float = 0.03,
) -> Operator:
    """Operator that removes all of what a writer adds along each basis vector; column j of `write` is unit j.

    With `G = diag(gain)` and `G D = Q R`, the written component along `d_j` is `(G d_j)^T W x` up to the norm's
    scale. For every `A` with `Q^T A = I` the columns `w_j` of `A R^-T` obey `(G d_i)^T w_j = 1 if i = j else 0`, so
    `W' = W - sum_j alpha_j w_j (G d_j)^T W` leaves exactly the share `1 - alpha_j` of each component.
    The choices of `A` differ only in collateral:

    - `least_change`: `A = Q`; the weights move least, the stream also changes along `G Q`.
    - `direction`: `A = G^-1 D R^T`; the stream changes by exactly `-D diag(alpha)` times the written components,
      unbounded where a gain is near 0 (behind a centring norm: the nearest change that such a norm lets through).
    - `ridge`: `A = Hd (G D R^T + Q N)`, `Hd = diag(1 / (g^2 + tau))`, `tau = ridge * mean(g^2)`,
      `N = (Q^T Hd Q)^-1 (I - Q^T Hd G D R^T)`: the least `|G A - D R^T|^2 + tau |A|^2` under `Q^T A = I`.
    - `naive`: ignores the gain; leaks behind a post-norm, kept for comparison.

    Behind a mean-subtracting LayerNorm, `C = I - 11^T / d_model`, the written directions are `C G D = Q R`; what
    is subtracted stays orthogonal to 1 (the norm would drop that part), which is one more constraint of the same kind.

    Args:
        basis: Orthonormal directions `D`.
        gain: Effective gain of the norms behind the writer; None where there is none.
        centred: A mean-subtracting LayerNorm is among them.
        post_norm: Which solution.
        ridge: c in `tau`.
    """
    basis64 = basis.double()
    if (gain is None and not centred) or post_norm == "naive":
        return Operator(basis64.float(), basis64.T.float())
    g = torch.ones(len(basis), dtype=torch.float64) if gain is None else gain.double()
    written = written_directions(basis64, g, centred)
    q, r = torch.linalg.qr(written)
    a = _subtracted(basis64, q, r, g, centred=centred, post_norm=post_norm, ridge=ridge)
    return Operator(torch.linalg.solve(r, a.T).T.float(), written.T.float())


def _subtracted(
    basis: Tensor, q: Tensor, r: Tensor, g: Tensor, *, centred: bool, post_norm: PostNorm, ridge: float
) -> Tensor:
    """`A` of one solution (d_model x r)."""
    if post_norm == "least_change":
        return q
    target = basis @ r.T
    if post_norm == "direction" and not centred:
        direct: Tensor = target / g[:, None]
        return direct
    # Constraints K^T A = k: Q^T A = I, and 1^T A = 0 behind a centring norm.
    ones = torch.full((len(g), 1), len(g) ** -0.5, dtype=q.dtype)
    constraints = torch.cat([q, ones], dim=1) if centred else q
    wanted = torch.eye(constraints.shape[1], q.shape[1], dtype=q.dtype)
    tau = 0.0 if post_norm == "direction" else ridge * g.square().mean()
    weight = 1.0 / (g.square() + tau)
    free = (weight * g)[:, None] * target
    correction = torch.linalg.solve(
        constraints.T @ (weight[:, None] * constraints), wanted - constraints.T @ free
    )
    a: Tensor = free + (weight[:, None] * constraints) @ correction
    return a


def written_directions(
    basis: Float[Tensor, "d_model r"], gain: Float[Tensor, " d_model"] | None, centred: bool
) -> Float[Tensor, "d_model r"]:
    """`C G D`: the raw output's component along these columns is what reaches the stream along `D`."""
    scaled = basis if gain is None else gain[:, None] * basis
    return scaled - scaled.mean(dim=0) if centred else scaled


def orthonormal_additions(
    known: Float[Tensor, "d_model r"] | None,
    candidates: Float[Tensor, "d_model k"],
    *,
    least_new: float = 0.1,
) -> tuple[Float[Tensor, "d_model m"], list[int]]:
    """Gram-Schmidt: the candidates' parts orthogonal to what is known, in order, as unit columns.

    A candidate whose new part has norm below `least_new` is left out: it is mostly removed already, and what remains
    of it is mostly noise.

    Returns:
        The new columns, and the index of the candidate behind each.
    """
    basis = torch.zeros(candidates.shape[0], 0, dtype=torch.float64) if known is None else known.double()
    start = basis.shape[1]
    kept: list[int] = []
    for index, candidate in enumerate(candidates.double().T):
        rest = candidate / candidate.norm()
        for _ in range(2):  # twice is enough (Kahan): once loses digits when the new part is small
            rest = rest - basis @ (basis.T @ rest)
        if rest.norm() < least_new:
            continue
        basis = torch.cat([basis, (rest / rest.norm())[:, None]], dim=1)
        kept.append(index)
    return basis[:, start:].float(), kept
