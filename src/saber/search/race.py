"""The race: cheap signals first, then answers block by block; who is shown to be dominated stops answering."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from saber.search.candidate import Candidate, Measured, Values
from saber.search.judge import Rules
from saber.search.panel import Panel
from saber.search.racing import eliminated

Alive = NDArray[np.bool_]
"""Who still runs."""

_BLOCKS = 4
"""Looks at the answers; the screening before them is one more."""


def race(
    candidates: Sequence[Candidate],
    panel: Panel,
    rules: Rules,
    *,
    others: Sequence[str],
    tolerance: float,
    in_time: Callable[[], bool],
    on_look: Callable[[int], None],
) -> list[Candidate]:
    """Measure candidates until only those are left that nothing is shown to dominate; these answer everything.

    Feasibility is not part of the race: a candidate that keeps more refusals than its rival is never dropped for it.

    Args:
        candidates: Who runs; equal ones count once.
        panel: Measures them.
        rules: The role whose refusals should go, and those whose should stay.
        others: Further roles that survivors answer.
        tolerance: See `racing.eliminated`.
        in_time: Whether there is time for another block.
        on_look: Called with the number of living candidates.

    Returns:
        Survivors, in the given order.
    """
    running = list({candidate.key: candidate for candidate in candidates}.values())
    found = panel.screen(running)
    alive: Alive = np.array([bool(np.isfinite(one.drift).all()) for one in found], dtype=np.bool_)
    for one, lives in zip(found, alive, strict=True):
        one.dropped = "" if lives else "its drift is not finite"
    drift = np.array([one.drift for one in found])
    size = len(found[0].refuses(rules.target)) if found else 0
    blocks = [block.tolist() for block in np.array_split(np.arange(size), min(_BLOCKS, max(size, 1)))]
    for look, block in enumerate([[], *blocks]):
        if look and not in_time():
            break
        panel.answer([c for c, lives in zip(running, alive, strict=True) if lives], rules.target, block)
        alive &= ~_dominated(found, drift, alive, rules, tolerance, len(blocks) + 1)
        for one, lives in zip(found, alive, strict=True):
            if not lives and not one.dropped:
                one.dropped = (
                    "screened out" if not look else f"out after {sum(map(len, blocks[:look]))} answers"
                )
        on_look(int(alive.sum()))
    left = [candidate for candidate, lives in zip(running, alive, strict=True) if lives]
    for role in (*rules.kept, *others):
        places = rules.base_refuses.get(role, ())
        if places and in_time():
            panel.answer(left, role, places)
    return left


def _dominated(
    found: Sequence[Measured], drift: Values, alive: Alive, rules: Rules, tolerance: float, looks: int
) -> Alive:
    """Dominated in the target's refusals and drift by a rival that keeps at least as many of every kept role."""
    if alive.sum() < 2:
        return np.zeros(len(found), dtype=np.bool_)
    refused = np.array([one.refuses(rules.target) for one in found])
    kept = np.array([_kept(one, rules) for one in found])
    out = np.zeros(len(found), dtype=np.bool_)
    for level in {tuple(row) for row in kept[alive].tolist()}:
        rivals = alive & (kept >= level).all(1)
        if rivals.sum() > 1:
            dropped = eliminated(refused, drift, rivals, tolerance=tolerance, looks=looks)
            out |= dropped & (kept == level).all(1)
    return out


def _kept(found: Measured, rules: Rules) -> list[int]:
    """Refusals of each kept role that stay, by the sign of the log-odds until they are answered; 0 for no roles."""
    counts = [0]
    for role in rules.kept:
        if role in found.log_odds:
            counts.append(int(np.nansum(found.refuses(role)[list(rules.base_refuses.get(role, ()))])))
        else:
            counts.append(0)
    return counts
