"""Pareto fronts under constraints: pure functions on arrays of objectives that are all minimised."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from saber.refinement.stopping import dominated_area


def pareto_front(
    points: Float[np.ndarray, "n m"], violation: Float[np.ndarray, " n"] | None = None
) -> Int[np.ndarray, " front"]:
    """Indices of the points that no other point dominates, ascending; of identical points the first.

    Domination under constraints (Deb et al. 2002, definition 1): a point without violation dominates every point with
    one; of two points with violations the smaller one dominates; else no objective is worse and one is better. Where
    every point violates the constraints, the front is therefore the nearest ones. A point with an objective or a
    violation that is not finite was not measured: it dominates nothing and is never on the front.

    Args:
        points: Objectives.
        violation: By how much each point breaks the constraints in all, >= 0; None is 0.
    """
    rows, measured = _rows(points, violation)
    beaten = np.array([_dominates(rows, row).any() for row in rows], dtype=bool)
    kept = measured[~beaten]
    _, first = np.unique(rows[~beaten], axis=0, return_index=True)
    return np.sort(kept[first])


def hypervolume(points: Float[np.ndarray, "n m"], reference: Float[np.ndarray, " m"]) -> float:
    """Volume that the points dominate below the reference point, exact for 2 and 3 objectives.

    Points beyond the reference in any objective, or not finite, add nothing. Three objectives are sliced along the
    last: between two neighbouring values, the area of all points up to the lower one. O(n^2 log n).

    Raises:
        ValueError: For another number of objectives, or a reference that is not finite.
    """
    if points.shape[1] not in (2, 3) or not np.isfinite(reference).all():
        raise ValueError(f"a hypervolume of {points.shape[1]} objectives up to {reference.tolist()}")
    inside = points[np.isfinite(points).all(axis=1)]
    inside = inside[(inside < reference).all(axis=1)]
    corner = (float(reference[0]), float(reference[1]))
    if points.shape[1] == 2:
        return dominated_area(_pairs(inside), corner)
    inside = inside[np.argsort(inside[:, 2], kind="stable")]
    levels = np.append(inside[:, 2], reference[2])
    return float(
        sum(
            dominated_area(_pairs(inside[: depth + 1]), corner) * (levels[depth + 1] - levels[depth])
            for depth in range(len(inside))
            if levels[depth + 1] > levels[depth]
        )
    )


def _rows(
    points: Float[np.ndarray, "n m"], violation: Float[np.ndarray, " n"] | None
) -> tuple[Float[np.ndarray, "measured k"], Int[np.ndarray, " measured"]]:
    """Finite points, each with its violation in front, and their indices."""
    broken = np.zeros(len(points)) if violation is None else violation
    if (broken < 0).any():
        raise ValueError("a violation is negative")
    rows = np.column_stack([broken, points])
    measured = np.flatnonzero(np.isfinite(rows).all(axis=1))
    return rows[measured], measured


def _dominates(rows: Float[np.ndarray, "n k"], row: Float[np.ndarray, " k"]) -> Bool[np.ndarray, " n"]:
    """Which rows, each a violation and objectives, dominate one of them."""
    nearer: Bool[np.ndarray, " n"] = rows[:, 0] < row[0]
    if row[0] > 0:
        return nearer
    no_worse = (rows[:, 1:] <= row[1:]).all(axis=1) & (rows[:, 0] == 0)
    better: Bool[np.ndarray, " n"] = no_worse & (rows[:, 1:] < row[1:]).any(axis=1)
    return better


def _pairs(points: Float[np.ndarray, "n m"]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points[:, :2]]
