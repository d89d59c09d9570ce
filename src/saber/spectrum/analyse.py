"""The entry point of stage 2: activations of all layers become a spectrum of directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from saber.errors import ProbeError
from saber.spectrum.direction import Direction, Spectrum
from saber.spectrum.extraction import FACTORISED, Candidates, Method, extract
from saber.spectrum.separability import (
    Fit,
    cross_fitted_fdr,
    fdr,
    layer_fdr,
    permutation_null,
    stability,
)
from saber.spectrum.span import MAX_RANK, project_off, reduce


@dataclass(frozen=True, eq=False)
class _Layer:
    """Candidates of one layer and the evidence for them, before the null of all layers is known."""

    candidates: Candidates
    fdr: Float[Tensor, " k"]
    fdr_in_sample: Float[Tensor, " k"]
    stability: Float[Tensor, " k"]
    null: Float[Tensor, " permutations"]


@dataclass(frozen=True)
class _Options:
    """Keywords of `analyse` that hold for every layer."""

    method: Method
    k: int
    projected: bool
    kappa: float
    folds: int
    permutations: int
    bootstraps: int
    seed: int


def analyse(
    harmful: Float[Tensor, "n_h layer d"],
    harmless: Float[Tensor, "n_s layer d"],
    capability: Float[Tensor, "n_c layer d"] | None = None,
    *,
    method: Method,
    k: int,
    projected: bool,
    kappa: float,
    folds: int,
    permutations: int,
    null_quantile: float,
    bootstraps: int,
    seed: int,
    layers: Sequence[int],
    removed: Mapping[int, Float[Tensor, "_ d"]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Spectrum:
    """Finds candidate directions in each layer and measures how far they can be trusted.

    Directions are fitted on all prompts, scored by a cross-fitted Fisher discriminant ratio, compared with
    shuffled labels (`null`: the `null_quantile` of the largest score over all layers and components), and
    resampled (stability).

    Args:
        harmful: Activations of harmful prompts, all layers of the model on axis 1.
        harmless: Activations of harmless prompts.
        capability: Activations of capability prompts; used by contrastive only.
        method: Extraction method.
        k: Candidates a layer (mean_difference and fisher have one).
        projected: mean_difference without its part along the harmless mean.
        kappa: Weight of the capability covariance in contrastive's noise metric.
        folds: Folds of the cross-fitted ratio.
        permutations: Label shuffles behind the null.
        null_quantile: Quantile of the null, 0-1.
        bootstraps: Resamples behind the stability.
        seed: Seed of folds, shuffles and resamples; the same in all layers.
        layers: Indices on axis 1 in which directions are sought; `layer_fdr` covers all layers.
        removed: For a layer, directions (rows) that an earlier pass removed. Activations are projected off
            them first, so that new directions are orthogonal to them.
        progress: Called with (layers done, layers in all) after each layer.

    Raises:
        ProbeError: Fewer than 2 x folds prompts in a class, values that are not finite, or a layer that
            does not exist.
    """
    _check(harmful, harmless, capability, folds, layers)
    options = _Options(method, k, projected, kappa, folds, permutations, bootstraps, seed)
    noise = capability if method == "contrastive" else None
    separation: list[float] = []
    measured: dict[int, _Layer] = {}
    for layer in range(harmful.shape[1]):
        h, s = (_without(x[:, layer], layer, removed) for x in (harmful, harmless))
        separation.append(layer_fdr(h, s))
        if layer in layers:
            c = None if noise is None else _without(noise[:, layer], layer, removed)
            measured[layer] = _measure(h, s, c, options)
            if progress is not None:
                progress(len(measured), len(set(layers)))
    null = float(torch.stack([found.null for found in measured.values()]).amax(dim=0).quantile(null_quantile))
    directions = [
        direction
        for layer, found in measured.items()
        for direction in _directions(layer, found, null, removed)
    ]
    return Spectrum(tuple(directions), tuple(separation), null, method, len(harmful), len(harmless))


def _measure(
    harmful: Float[Tensor, "n_h d"],
    harmless: Float[Tensor, "n_s d"],
    capability: Float[Tensor, "n_c d"] | None,
    options: _Options,
) -> _Layer:
    """Candidates of one layer with their scores; every fit runs in the span of the data."""
    reduced = reduce(harmful, harmless, capability, MAX_RANK if options.method in FACTORISED else None)
    fit: Fit = partial(
        extract,
        options.method,
        k=options.k,
        capability=reduced.capability,
        projected=options.projected,
        kappa=options.kappa,
        dimension=reduced.dimension,
    )
    h, s = reduced.harmful, reduced.harmless
    found = fit(h, s)
    in_sample = [fdr(h @ row, s @ row) for row in found.filters]
    return _Layer(
        candidates=Candidates(reduced.lift(found.vectors), reduced.lift(found.filters)),
        fdr=cross_fitted_fdr(h, s, fit, found, folds=options.folds, seed=options.seed),
        fdr_in_sample=torch.tensor(in_sample, dtype=torch.float64),
        stability=stability(h, s, fit, found, bootstraps=options.bootstraps, seed=options.seed),
        null=permutation_null(
            h, s, fit, folds=options.folds, permutations=options.permutations, seed=options.seed
        ),
    )


def _directions(
    layer: int, found: _Layer, null: float, removed: Mapping[int, Tensor] | None
) -> list[Direction]:
    """Directions of one layer, float32; projected off `removed` once more, because lifting rounds."""
    vectors = _unit(_without(found.candidates.vectors, layer, removed))
    filters = _unit(_without(found.candidates.filters, layer, removed))
    return [
        Direction(
            layer=layer,
            component=component,
            vector=vectors[component].to(torch.float32),
            filter=filters[component].to(torch.float32),
            fdr=float(found.fdr[component]),
            fdr_in_sample=float(found.fdr_in_sample[component]),
            null=null,
            stability=float(found.stability[component]),
        )
        for component in range(len(found.candidates))
    ]


def _without(
    x: Float[Tensor, "n d"], layer: int, removed: Mapping[int, Tensor] | None
) -> Float[Tensor, "n d"]:
    """The vectors in float64 on the CPU, without their part along what this layer has lost already."""
    if removed is None or layer not in removed:
        return x.to("cpu", torch.float64)
    return project_off(x, removed[layer])


def _unit(rows: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
    """Rows of length one."""
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit


def _check(
    harmful: Float[Tensor, "n_h layer d"],
    harmless: Float[Tensor, "n_s layer d"],
    capability: Float[Tensor, "n_c layer d"] | None,
    folds: int,
    layers: Sequence[int],
) -> None:
    """Raises `ProbeError` for activations that cannot be analysed."""
    least = 2 * folds
    for role, x in (("harmful", harmful), ("harmless", harmless)):
        if len(x) < least:
            raise ProbeError(
                f"{len(x)} {role} prompts are left, but {folds} folds need at least {least} (2 a fold).",
                hint=f"Raise prompts.n_{role}, lower spectrum.folds, or prompts.behaviour_filter = false.",
            )
    roles = {"harmful": harmful, "harmless": harmless}
    if capability is not None:
        roles["capability"] = capability
    for role, x in roles.items():
        if not bool(torch.isfinite(x).all()):
            bad = sorted({int(index) for index in (~torch.isfinite(x)).nonzero()[:, 1]})
            raise ProbeError(
                f"{role} activations are not finite in layers {bad}.",
                hint='The model overflows in its dtype: set model.dtype = "bfloat16" or "float32".',
            )
    depth = harmful.shape[1]
    if not layers or min(layers) < 0 or max(layers) >= depth:
        raise ProbeError(
            f"Layers {list(layers)} are to be analysed, but the activations have layers 0 to {depth - 1}.",
            hint="Change spectrum.depth_min and spectrum.depth_max.",
        )
