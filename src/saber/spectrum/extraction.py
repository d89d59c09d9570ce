"""Extraction methods: two classes of activations become candidate directions.

Every method has the same signature and works in any orthonormal coordinates, so the caller solves in the
span of the data (`span.reduce`) and passes the number of channels of the full space as `dimension`. All are
equivariant: rotating the activations rotates the candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from saber.probe.moments import centred, shrunk_covariance
from saber.spectrum.span import fixed_signs
from saber.spectrum.whitening import leading_pairs, noise_root

Method = Literal["mean_difference", "svd", "fisher", "whitened_svd", "contrastive"]

MIN_SHIFT = 1e-9
"""Differences shorter than this, relative to the activations, are rounding."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidate directions of one layer, strongest first, signed so that harmful prompts project higher."""

    vectors: Float[Tensor, "k d"]
    """Unit patterns: what to remove."""
    filters: Float[Tensor, "k d"]
    """Unit filters: what reads them."""

    def __len__(self) -> int:
        return int(self.vectors.shape[0])


class Extract(Protocol):
    """The signature of every method.

    Args:
        harmful: Activations of harmful prompts, float64.
        harmless: Activations of harmless prompts, float64.
        k: Most candidates.
        capability: Activations of capability prompts (contrastive only).
        projected: Remove the part along the harmless mean (mean_difference only).
        kappa: Weight of the capability covariance (contrastive only).
        dimension: Channels of the full space if `d` counts coordinates in a subspace; None: `d`.

    Returns:
        At most `k` candidates: fewer when the data has a lower rank, none when the classes do not differ.
    """

    def __call__(
        self,
        harmful: Float[Tensor, "n_h d"],
        harmless: Float[Tensor, "n_s d"],
        *,
        k: int,
        capability: Float[Tensor, "n_c d"] | None = None,
        projected: bool = False,
        kappa: float = 1.0,
        dimension: int | None = None,
    ) -> Candidates:
        """Extracts the candidates."""
        ...


def mean_difference(
    harmful: Float[Tensor, "n_h d"],
    harmless: Float[Tensor, "n_s d"],
    *,
    k: int,
    capability: Float[Tensor, "n_c d"] | None = None,
    projected: bool = False,
    kappa: float = 1.0,
    dimension: int | None = None,
) -> Candidates:
    """Takes the difference of the class means: delta = mu_H - mu_S.

    `projected` removes the part along the harmless mean, delta - (delta . s) s with s = mu_S / |mu_S|: that
    part is common to all prompts, and removing it disturbs harmless ones.

    Source: Arditi et al. 2024 (arXiv 2406.11717); projected: grimjim 2025.
    """
    mean_s = harmless.mean(dim=0)
    shift = harmful.mean(dim=0) - mean_s
    length_s = mean_s.norm()
    if projected and float(length_s) > 0.0:
        common = mean_s / length_s
        shift = shift - (shift @ common) * common
    if _rounding(shift[None], harmful, harmless):
        return _nothing(harmful)
    return _oriented(shift[None], shift[None], harmful, harmless)


def svd(
    harmful: Float[Tensor, "n_h d"],
    harmless: Float[Tensor, "n_s d"],
    *,
    k: int,
    capability: Float[Tensor, "n_c d"] | None = None,
    projected: bool = False,
    kappa: float = 1.0,
    dimension: int | None = None,
) -> Candidates:
    """Takes the right singular vectors of the paired differences H_i - S_i, uncentred.

    Prompts are paired in order, up to the smaller class. Components beyond the first turn towards whatever
    varies between prompts, mostly topic: that is where drift comes from.

    Source: published SABER's extraction.
    """
    differences = _paired(harmful, harmless)
    if _rounding(differences, harmful, harmless):
        return _nothing(harmful)
    vectors, _ = leading_pairs(differences, None, k)
    return _oriented(vectors, vectors, harmful, harmless)


def fisher(
    harmful: Float[Tensor, "n_h d"],
    harmless: Float[Tensor, "n_s d"],
    *,
    k: int,
    capability: Float[Tensor, "n_c d"] | None = None,
    projected: bool = False,
    kappa: float = 1.0,
    dimension: int | None = None,
) -> Candidates:
    """Takes the direction of largest Fisher ratio: w = S_W^-1 (mu_H - mu_S), S_W shrunk (Ledoit-Wolf).

    One direction only: two classes have a between-class scatter of rank one. The vector removed is the
    filter w itself, as the method is published; its pattern S_W w is the mean difference, which
    `mean_difference` removes.
    """
    shift = harmful.mean(dim=0) - harmless.mean(dim=0)
    if _rounding(shift[None], harmful, harmless):
        return _nothing(harmful)
    root = noise_root(_within(harmful, harmless, dimension), shift[None])
    filters = torch.cholesky_solve(shift[:, None], root).T
    return _oriented(filters, filters, harmful, harmless)


def whitened_svd(
    harmful: Float[Tensor, "n_h d"],
    harmless: Float[Tensor, "n_s d"],
    *,
    k: int,
    capability: Float[Tensor, "n_c d"] | None = None,
    projected: bool = False,
    kappa: float = 1.0,
    dimension: int | None = None,
) -> Candidates:
    """Takes singular vectors w of the paired differences in the space where S_W is the identity, mapped back.

    With S_W = L L^T (pooled within classes, Ledoit-Wolf): the differences become L^-1 (H_i - S_i), the
    filter is L^-T w and the pattern L w. Any other root of S_W gives the same filters and patterns.
    """
    differences = _paired(harmful, harmless)
    if _rounding(differences, harmful, harmless):
        return _nothing(harmful)
    root = noise_root(_within(harmful, harmless, dimension), differences)
    return _oriented(*leading_pairs(differences, root, k), harmful, harmless)


def contrastive(
    harmful: Float[Tensor, "n_h d"],
    harmless: Float[Tensor, "n_s d"],
    *,
    k: int,
    capability: Float[Tensor, "n_c d"] | None = None,
    projected: bool = False,
    kappa: float = 1.0,
    dimension: int | None = None,
) -> Candidates:
    """Takes the leading generalised eigenvectors of S_T v = lam S_N v: filters v, patterns S_N v.

    S_T = E_H[(h - mu_S)(h - mu_S)^T]: how far harmful prompts are from the typical harmless one.
    S_N = Sigma_S + kappa Sigma_C + mu I: what varies anyway. Both covariances are shrunk by Ledoit-Wolf,
    which also sets mu = s_S m_S + kappa s_C m_C (s the shrinkage, m the mean eigenvalue of each). The
    target and the noise never meet as d x d matrices: with S_N = L L^T, v = L^-T w for the right singular
    vectors w of (h - mu_S) L^-T.
    """
    full = dimension or harmful.shape[1]
    mean_s = harmless.mean(dim=0, keepdim=True)
    target = harmful - mean_s
    if _rounding(target, harmful, harmless):
        return _nothing(harmful)
    noise = shrunk_covariance(harmless - mean_s, full)
    if capability is not None and len(capability) > 0 and kappa > 0.0:
        noise = noise + kappa * shrunk_covariance(centred(capability), full)
    return _oriented(*leading_pairs(target, noise_root(noise, target), k), harmful, harmless)


METHODS: Mapping[Method, Extract] = {
    "mean_difference": mean_difference,
    "svd": svd,
    "fisher": fisher,
    "whitened_svd": whitened_svd,
    "contrastive": contrastive,
}
"""Every method by its name in the configuration."""
FACTORISED: frozenset[Method] = frozenset({"fisher", "whitened_svd", "contrastive"})
"""Methods that factorise a matrix of the size of the span, and so need the span's rank bounded."""


def extract(
    method: Method,
    harmful: Float[Tensor, "n_h d"],
    harmless: Float[Tensor, "n_s d"],
    *,
    k: int,
    capability: Float[Tensor, "n_c d"] | None = None,
    projected: bool = False,
    kappa: float = 1.0,
    dimension: int | None = None,
) -> Candidates:
    """Runs the method of that name; the arguments are those of `Extract`."""
    run = METHODS[method]
    return run(
        harmful, harmless, k=k, capability=capability, projected=projected, kappa=kappa, dimension=dimension
    )


def _paired(harmful: Float[Tensor, "n_h d"], harmless: Float[Tensor, "n_s d"]) -> Float[Tensor, "n d"]:
    """Differences of prompts with the same index, up to the smaller class."""
    n = min(len(harmful), len(harmless))
    return harmful[:n] - harmless[:n]


def _within(
    harmful: Float[Tensor, "n_h d"], harmless: Float[Tensor, "n_s d"], dimension: int | None
) -> Float[Tensor, "d d"]:
    """Shrunk covariance within classes, S_W."""
    deviations = torch.cat([centred(harmful), centred(harmless)])
    return shrunk_covariance(deviations, dimension or harmful.shape[1])


def _rounding(
    signal: Float[Tensor, "n d"], harmful: Float[Tensor, "n_h d"], harmless: Float[Tensor, "n_s d"]
) -> bool:
    """Whether the rows of `signal`, differences of activations, are nothing but rounding."""
    size, scale = (
        float(x.square().sum(dim=1).mean().sqrt()) for x in (signal, torch.cat([harmful, harmless]))
    )
    return size <= MIN_SHIFT * scale


def _oriented(
    vectors: Float[Tensor, "k d"],
    filters: Float[Tensor, "k d"],
    harmful: Float[Tensor, "n_h d"],
    harmless: Float[Tensor, "n_s d"],
) -> Candidates:
    """Unit vectors and filters, signed so that the filter reads harmful prompts higher.

    Pattern and filter flip together, which keeps filter . vector > 0. Where the means do not differ along a
    filter the sign is that of its largest entry.
    """
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    filters = filters / filters.norm(dim=1, keepdim=True)
    lead = filters @ (harmful.mean(dim=0) - harmless.mean(dim=0))
    fallback = (filters * fixed_signs(filters)).sum(dim=1)
    sign = torch.where(lead.abs() > 0.0, lead, fallback).sign()[:, None]
    return Candidates(sign * vectors, sign * filters)


def _nothing(like: Float[Tensor, "n d"]) -> Candidates:
    """No candidates."""
    empty = like.new_zeros(0, like.shape[1])
    return Candidates(empty, empty)
