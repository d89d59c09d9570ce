from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saber.errors import ProbeError
from saber.spectrum.direction import Direction
from saber.spectrum.select import depth_window, rank_directions, select_layers

OPTIONS = {"strategy": "top_k", "top_k": 2, "threshold": 0.5, "percentile": 50.0}


@pytest.mark.parametrize(
    ("n_layers", "low", "high", "expected"),
    [
        (11, 0.2, 0.8, [2, 3, 4, 5, 6, 7, 8]),
        (21, 0.2, 0.25, [4, 5]),
        (6, 0.2, 0.6, [1, 2, 3]),
        (4, 0.0, 1.0, [0, 1, 2, 3]),
        (4, 1.0, 1.0, [3]),
        (2, 0.0, 0.9, [0]),
        (1, 0.2, 0.8, [0]),
    ],
)
def test_depth_window(n_layers, low, high, expected):
    assert depth_window(n_layers, low, high) == expected


def test_an_empty_depth_window_says_so():
    with pytest.raises(ProbeError, match=r"None of 4 layers has a depth in \[0.4, 0.6\]"):
        depth_window(4, 0.4, 0.6)


TABLE = {3: 1.0, 4: 4.0, 5: 8.0, 6: 8.0, 7: 2.0}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"top_k": 1}, [5]),
        ({"top_k": 2}, [5, 6]),
        ({"top_k": 3}, [4, 5, 6]),
        ({"top_k": 99}, [3, 4, 5, 6, 7]),
        ({"strategy": "threshold", "threshold": 0.5}, [4, 5, 6]),
        ({"strategy": "threshold", "threshold": 0.51}, [5, 6]),
        ({"strategy": "threshold", "threshold": 1.0}, [5, 6]),
        ({"strategy": "threshold", "threshold": 0.0}, [3, 4, 5, 6, 7]),
        ({"strategy": "percentile", "percentile": 0.0}, [3, 4, 5, 6, 7]),
        ({"strategy": "percentile", "percentile": 50.0}, [4, 5, 6]),
        ({"strategy": "percentile", "percentile": 60.0}, [5, 6]),
        ({"strategy": "percentile", "percentile": 100.0}, [5, 6]),
    ],
)
def test_select_layers(change, expected):
    assert select_layers(TABLE, **(OPTIONS | change)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10.0, 9.5, 9.0, 1.0, 0.9, 0.8], [0, 1, 2]),  # cliff: the plateau is kept, the tail is not
        ([1.0, 10.0, 0.5, 0.4], [1]),  # one stands out, in any order
        ([10.0, 9.9, 9.8, 9.7, 0.0], [0, 1, 2, 3]),  # plateau: only the last one falls off
        ([4.0, 3.0, 2.0, 1.0], [0, 1, 2, 3]),  # straight: no bend
        ([2.0, 2.0, 2.0], [0, 1, 2]),
        ([2.0, 1.0], [0, 1]),
        ([5.0], [0]),
        ([0.0, 0.0], [0, 1]),
    ],
)
def test_elbow(values, expected):
    assert select_layers(dict(enumerate(values)), **(OPTIONS | {"strategy": "elbow"})) == expected


@pytest.mark.parametrize("strategy", ["top_k", "threshold", "percentile", "elbow"])
def test_no_layers_give_no_layers(strategy):
    assert select_layers({}, **(OPTIONS | {"strategy": strategy})) == []


@settings(max_examples=80, deadline=None)
@given(
    table=st.dictionaries(st.integers(0, 40), st.floats(0, 100), min_size=1, max_size=12),
    strategy=st.sampled_from(["top_k", "threshold", "percentile", "elbow"]),
)
def test_every_strategy_keeps_the_best_layers(table, strategy):
    chosen = select_layers(table, **(OPTIONS | {"strategy": strategy}))
    assert chosen == sorted(set(chosen))
    left = [value for layer, value in table.items() if layer not in chosen]
    assert chosen
    assert min(table[layer] for layer in chosen) >= max(left, default=0.0)


def direction(layer, component, fdr, stability=0.9, null=1.0):
    e = torch.tensor([1.0, 0.0])
    return Direction(layer, component, e, e, fdr, fdr, null, stability)


def test_rank_directions_by_fdr_times_purity():
    table = [
        direction(5, 0, 4.0),
        direction(2, 1, 8.0),
        direction(2, 0, 8.0),
        direction(1, 0, 100.0, null=200.0),
        direction(1, 1, 1.0),  # equal to the null is not above it
        direction(7, 0, 50.0, stability=0.1),
    ]
    purity = {d.name: 1.0 for d in table} | {"L2.0": 0.5, "L2.1": 0.5}
    names = lambda **o: [d.name for d in rank_directions(table, purity, **o)]  # noqa: E731
    everything = names(global_top_k=99, min_stability=0.0, significant_only=False)
    assert sorted(everything) == sorted(d.name for d in table)
    assert names(global_top_k=9, min_stability=0.5) == ["L2.0", "L2.1", "L5.0"]
    assert names(global_top_k=2, min_stability=0.5) == ["L2.0", "L2.1"]
    assert names(global_top_k=1, min_stability=0.0) == ["L7.0"]
    purity["L5.0"] = 0.0
    purity["L2.1"] = 1.0
    assert names(global_top_k=9, min_stability=0.5) == ["L2.1", "L2.0", "L5.0"]
