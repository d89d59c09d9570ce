"""Domination and volumes: against their definitions, written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saber.search.pareto import hypervolume, pareto_front


def dominates(a: np.ndarray, b: np.ndarray, va: float, vb: float) -> bool:
    """Definition 1 of Deb et al. 2002, one pair at a time."""
    if not (np.isfinite(a).all() and np.isfinite(va)):
        return False
    if not (np.isfinite(b).all() and np.isfinite(vb)):
        return True
    if va != vb:
        return va < vb
    return va == 0 and all(x <= y for x, y in zip(a, b, strict=True)) and any(a < b)


def front_by_definition(points: np.ndarray, violation: np.ndarray) -> list[int]:
    rows = [(*point, broken) for point, broken in zip(points.tolist(), violation.tolist(), strict=True)]
    return [
        i
        for i, point in enumerate(points)
        if np.isfinite(rows[i]).all()
        and not any(dominates(points[j], point, violation[j], violation[i]) for j in range(len(points)))
        and rows[i] not in rows[:i]
    ]


def test_front_on_every_table_of_three_small_points() -> None:
    values = list(itertools.product((0.0, 1.0, 2.0), repeat=2))
    for table in itertools.product(values, repeat=3):
        points = np.array(table)
        assert pareto_front(points).tolist() == front_by_definition(points, np.zeros(3))


def test_front_on_every_table_with_violations_and_unmeasured_points() -> None:
    values = [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (np.nan, 0.0), (-np.inf, 0.0), (0.0, np.inf)]
    pairs = itertools.product(itertools.product(values, (0.0, 0.5, 1.0)), repeat=2)
    triples = itertools.product(itertools.product(values[1:4], (0.0, 1.0)), repeat=3)
    for table in itertools.chain(pairs, triples):
        points, violation = np.array([row[0] for row in table]), np.array([row[1] for row in table])
        assert pareto_front(points, violation).tolist() == front_by_definition(points, violation)


GRID = st.lists(
    st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan])] * 3, st.sampled_from([0.0, 0.0, 1.0, np.inf])),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=150)
@given(GRID)
def test_front_on_random_tables(rows: list[tuple[float, ...]]) -> None:
    table = np.array(rows)
    points, violation = table[:, :3], table[:, 3]
    assert pareto_front(points, violation).tolist() == front_by_definition(points, violation)


def test_identical_points_keep_the_first() -> None:
    points = np.array([[1.0, 1.0], [0.0, 2.0], [1.0, 1.0], [0.0, 2.0]])
    assert pareto_front(points).tolist() == [0, 1]


def test_without_a_feasible_point_the_front_is_the_nearest_one() -> None:
    points = np.array([[0.0, 0.0], [5.0, 5.0]])
    assert pareto_front(points, np.array([2.0, 1.0])).tolist() == [1]


def test_nothing_measured_has_no_front() -> None:
    assert pareto_front(np.full((2, 2), np.nan)).tolist() == []
    assert pareto_front(np.empty((0, 2))).tolist() == []


def test_a_negative_violation_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        pareto_front(np.zeros((1, 2)), np.array([-1.0]))


@settings(deadline=None, max_examples=100)
@given(st.integers(2, 3), st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=8))
def test_volume_counts_unit_cells(objectives: int, rows: list[tuple[int, ...]]) -> None:
    points = np.array(rows, dtype=float).reshape(-1, 3)[:, :objectives]
    cells = np.array(list(itertools.product(range(4), repeat=objectives)), dtype=float)
    covered = (points[None] <= cells[:, None]).all(axis=2).any(axis=1)
    assert hypervolume(points, np.full(objectives, 4.0)) == pytest.approx(covered.sum())


def test_volume_of_three_real_objectives_agrees_with_sampling() -> None:
    rng = np.random.default_rng(0)
    points, samples = rng.random((15, 3)), rng.random((20000, 3))
    share = np.mean((points[None] <= samples[:, None]).all(axis=2).any(axis=1))
    # Five standard errors of a share of 20000 samples.
    assert abs(hypervolume(points, np.ones(3)) - share) <= 5 * np.sqrt(share * (1 - share) / 20000)


def test_unmeasured_points_have_no_volume_and_other_dimensions_are_refused() -> None:
    reference = np.ones(2)
    assert hypervolume(np.array([[np.nan, 0.0], [-np.inf, 0.0], [0.5, 0.5]]), reference) == 0.25
    with pytest.raises(ValueError, match="4 objectives"):
        hypervolume(np.zeros((1, 4)), np.ones(4))
    with pytest.raises(ValueError, match="inf"):
        hypervolume(np.zeros((1, 2)), np.array([1.0, np.inf]))
