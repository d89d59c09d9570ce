"""Racing: which candidates are shown to be dominated by the answers scored so far (paired statistics)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def eliminated(
    refused: Float[np.ndarray, "candidates prompts"],
    drift: Float[np.ndarray, "candidates probes"],
    alive: Bool[np.ndarray, " candidates"],
    *,
    confidence: float = 0.95,
    tolerance: float = 0.05,
    looks: int = 1,
) -> Bool[np.ndarray, " candidates"]:
    """Candidates that drop out now, because a candidate that stays is shown to dominate them.

    `d` is shown to dominate `c` when, over prompts scored for both, the upper limit of the mean of
    `refused(d) - refused(c)` is at most `tolerance`, that of `drift(d) - drift(c)` is at most 0, and one of the two
    is below 0. Refusals: Tango's (1998) score interval of a paired difference, which stays honest with few or no
    discordant pairs: equal answers to n prompts limit the difference to `z^2 / (n + z^2)`, not to 0 as Wald's
    interval does. Drift: the t interval of the paired mean.

    Every limit is one-sided at `1 - (1 - confidence) / (looks * (living - 1))` (Bonferroni). A false drop of `c` by
    `d` needs one false limit, so at each look the best candidate is dropped with a probability of at most
    `(1 - confidence) / looks`, however many rivals it has and however their errors hang together; without the
    correction the luckiest of a hundred equal rivals beats nearly everyone. The price: among L candidates, one that
    answers like a rival of less drift drops out after `z^2 (1 - tolerance) / tolerance` prompts: 96 for 5
    living candidates, 165 for 32, at the defaults.

    Only a candidate that stays eliminates: `tolerance` does not add up along a chain within a look (over several
    looks it can, where the eliminator of one look drops out at the next).

    Args:
        refused: 1 refused, 0 answered, nan not scored (yet).
        drift: Nats per token of each probe, complete for the living.
        alive: Candidates still in the race; the others are neither dropped nor compared with.
        confidence: Probability in (0.5, 1) with which the best candidate survives.
        tolerance: Difference of refusal rates that is worth less drift, >= 0.
        looks: How often the race is looked at in all; `confidence` then holds for all looks together.

    Raises:
        ValueError: If a living candidate's drift is not finite, refusals are not 0, 1 or nan, or a number is out
            of range.
    """
    if not (0.5 < confidence < 1 and 0 <= tolerance < 1 and looks >= 1):
        raise ValueError(f"confidence {confidence}, tolerance {tolerance}, {looks} looks")
    living = np.flatnonzero(alive)
    answers, costs = refused[living], drift[living]
    if not np.isfinite(costs).all() or not (np.isnan(answers) | (answers == 0) | (answers == 1)).all():
        raise ValueError("drift of the living must be finite, and refusals 0, 1 or nan")
    dropped = np.zeros(len(alive), dtype=bool)
    if len(living) < 2:
        return dropped
    level = (1 - confidence) / (looks * (len(living) - 1))
    # Whatever eliminates has less drift, or the same drift and fewer refusals: it comes first and is decided first.
    order = np.lexsort((np.where(np.isnan(answers), 0.5, answers).mean(axis=1), costs.mean(axis=1)))
    beats = _shown_to_dominate(answers[order], costs[order], level, tolerance)
    out = np.zeros(len(living), dtype=bool)
    for place in range(len(living)):
        out[place] = bool((beats[:, place] & ~out)[:place].any())
    dropped[living[order[out]]] = True
    return dropped


def _shown_to_dominate(
    refused: Float[np.ndarray, "n prompts"],
    drift: Float[np.ndarray, "n probes"],
    level: float,
    tolerance: float,
) -> Bool[np.ndarray, "n n"]:
    """[d, c]: whether d is shown to dominate c."""
    from scipy.special import ndtri

    scored = ~np.isnan(refused)
    yes, no = scored & (refused == 1), scored & (refused == 0)
    pairs = scored.astype(float) @ scored.T
    worse = yes.astype(float) @ no.T
    critical = float(ndtri(level))
    no_worse = tango_score(worse, worse.T, pairs, tolerance) <= critical
    better = tango_score(worse, worse.T, pairs, 0.0) < critical
    limit = _drift_limit(drift, level)
    return no_worse & (limit <= 0) & (better | (limit < 0))


def tango_score(
    first: Float[np.ndarray, "*shape"],
    second: Float[np.ndarray, "*shape"],
    pairs: Float[np.ndarray, "*shape"],
    difference: float,
) -> Float[np.ndarray, "*shape"]:
    """Score of the hypothesis `p_first - p_second = difference`, about standard normal under it (Tango 1998, eq. 8).

    `(b - c - n D) / sqrt(n (2 q + D (1 - D)))`, with q the most likely `p_second` under the hypothesis:
    `2 n q^2 - (b + c - (2 n - b + c) D) q - c D (1 - D) = 0`. The upper limit of the difference lies below D exactly
    where the score lies below the normal quantile. At `D = 0` it is McNemar's. Without pairs, or without discordant
    pairs at `D = 0`, nothing is shown: 0.

    Args:
        first: b, pairs in which only the first is positive.
        second: c, pairs in which only the second is.
        pairs: n.
        difference: D in [0, 1).
    """
    D = difference
    linear = first + second - (2 * pairs - first + second) * D
    root = np.sqrt(np.maximum(linear**2 + 8 * pairs * second * D * (1 - D), 0.0))
    share = (root + linear) / (4 * np.maximum(pairs, 1))
    variance = pairs * (2 * share + D * (1 - D))
    known = variance > 0
    return np.where(known, (first - second - pairs * D) / np.sqrt(np.where(known, variance, 1.0)), 0.0)


def _drift_limit(drift: Float[np.ndarray, "n probes"], level: float) -> Float[np.ndarray, "n n"]:
    """[d, c]: upper t limit of the mean of drift(d) - drift(c); infinite with fewer than two probes."""
    from scipy.special import stdtrit

    n, probes = drift.shape
    if probes < 2:
        return np.full((n, n), np.inf)
    quantile = -float(stdtrit(probes - 1, level))
    means = drift.mean(axis=1)
    centred = drift - means[:, None]
    squares = np.empty((n, n))
    for index, row in enumerate(centred):
        apart = row - centred
        squares[index] = np.einsum("cp,cp->c", apart, apart)
    error = np.sqrt(squares / (probes - 1) / probes)
    limit: Float[np.ndarray, "n n"] = means[:, None] - means + quantile * error
    return limit
