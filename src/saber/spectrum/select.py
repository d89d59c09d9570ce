"""Which layers and which directions are used: pure functions on small tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, assert_never

import numpy as np

from saber.errors import ProbeError
from saber.spectrum.direction import Direction

Strategy = Literal["top_k", "threshold", "percentile", "elbow"]

DEPTH_TOLERANCE = 1e-9
"""Depths this close to a bound lie within: 4/20 must not miss 0.2 by rounding."""


def depth_window(n_layers: int, depth_min: float, depth_max: float) -> list[int]:
    """Layers whose depth = layer / (n_layers - 1) lies in [depth_min, depth_max].

    The only layer of a one-layer model always does.

    Raises:
        ProbeError: No layer lies in the window.
    """
    if n_layers == 1:
        return [0]
    low, high = depth_min - DEPTH_TOLERANCE, depth_max + DEPTH_TOLERANCE
    window = [layer for layer in range(n_layers) if low <= layer / (n_layers - 1) <= high]
    if not window:
        raise ProbeError(
            f"None of {n_layers} layers has a depth in [{depth_min:g}, {depth_max:g}].",
            hint="Widen the window: spectrum.depth_min, spectrum.depth_max.",
        )
    return window


def select_layers(
    layer_fdr: Mapping[int, float], *, strategy: Strategy, top_k: int, threshold: float, percentile: float
) -> list[int]:
    """Chooses layers by their FDR.

    - `top_k`: the `top_k` best; equal ones by layer.
    - `threshold`: those with at least `threshold` times the best FDR.
    - `percentile`: those at or above that percentile (linear interpolation).
    - `elbow`: those ahead of the bend of the sorted curve, see `_elbow`.

    Args:
        layer_fdr: FDR of each eligible layer.
        strategy: One of the above; only its own argument is used.
        top_k: Number of layers.
        threshold: Share of the best, 0-1.
        percentile: 0-100.

    Returns:
        Layers in ascending order; empty only if `layer_fdr` is.
    """
    ranked = sorted(layer_fdr, key=lambda layer: (-layer_fdr[layer], layer))
    values = [layer_fdr[layer] for layer in ranked]
    if not ranked:
        return []
    match strategy:
        case "top_k":
            count = top_k
        case "threshold":
            count = sum(value >= threshold * values[0] for value in values)
        case "percentile":
            bound = float(np.percentile(values, percentile))
            count = sum(value >= bound for value in values)
        case "elbow":
            count = _elbow(values)
        case _:
            assert_never(strategy)
    return sorted(ranked[: max(1, count)])


def rank_directions(
    directions: Iterable[Direction],
    purity: Mapping[str, float],
    *,
    global_top_k: int,
    min_stability: float,
    significant_only: bool = True,
) -> list[Direction]:
    """The best directions by fdr x purity among those that are significant and stable.

    Args:
        directions: Candidates.
        purity: Purity of each candidate by its name.
        global_top_k: Most directions, over all layers.
        min_stability: Directions with a lower stability are left out.
        significant_only: Leave out directions that are no better than their null.

    Returns:
        Best first; ties by layer, then component.
    """
    usable = [
        d for d in directions if (d.significant or not significant_only) and d.stability >= min_stability
    ]
    usable.sort(key=lambda d: (-d.fdr * purity[d.name], d.layer, d.component))
    return usable[:global_top_k]


def _elbow(values: list[float]) -> int:
    """Number of values ahead of the bend of a falling curve.

    The bend is the point with the largest vertical distance to the chord from the first to the last point
    (which is proportional to the perpendicular distance). Below the chord it is the first point of the flat
    tail, and those before it are kept; above the chord it is the last point of the plateau, and is kept as
    well. A straight curve has no bend: all are kept.
    """
    n = len(values)
    chord = np.linspace(values[0], values[-1], n)
    distance = chord - np.asarray(values)
    bend = int(np.abs(distance).argmax())
    if abs(distance[bend]) <= 1e-12 * max(abs(values[0]), abs(values[-1])):
        return n
    return bend if distance[bend] > 0 else bend + 1
