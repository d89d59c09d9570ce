"""Near-duplicate clusters of texts by the Jaccard similarity of their words."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from saber.prompts.prompt import normalise

_WORD = re.compile(r"\w+")


def words(text: str) -> frozenset[str]:
    """List the distinct normalised words; a text without any (punctuation only) is one word by itself."""
    folded = normalise(text)
    return frozenset(_WORD.findall(folded)) or frozenset((folded,))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Compute |left & right| / |left | right|."""
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def near_duplicate_clusters(texts: Sequence[str], threshold: float) -> list[list[int]]:
    """Group texts that are linked by pairs with Jaccard >= threshold (single linkage).

    Exact, without comparing all pairs: if two sets of sizes m <= n reach the threshold t they share at least
    t n words, so after sorting words from rare to frequent the first n - ceil(t n) + 1 words of each have one
    in common (the prefix filter of Chaudhuri et al. 2006). Rare words have short index lists.

    Args:
        texts: The texts.
        threshold: Similarity in (0, 1] from which two texts count as one.

    Returns:
        Indices into `texts`, every index in exactly one cluster.
    """
    members: dict[frozenset[str], list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        members[words(text)].append(index)
    sets = sorted(members, key=len)
    frequency = Counter(word for entry in sets for word in entry)
    parent = list(range(len(sets)))
    index_lists: dict[str, list[int]] = defaultdict(list)
    for current, entry in enumerate(sets):
        ranked = sorted(entry, key=lambda word: (frequency[word], word))
        # The slack keeps rounding (0.7 * 10 = 7.000000000000001) from shortening the prefix by one.
        prefix = ranked[: len(entry) - math.ceil(threshold * len(entry) - 1e-9) + 1]
        for other in {other for word in prefix for other in index_lists[word]}:
            if _root(parent, other) != _root(parent, current) and jaccard(entry, sets[other]) >= threshold:
                parent[_root(parent, other)] = _root(parent, current)
        for word in prefix:
            index_lists[word].append(current)
    clusters: dict[int, list[int]] = defaultdict(list)
    for current, entry in enumerate(sets):
        clusters[_root(parent, current)].extend(members[entry])
    return [sorted(cluster) for cluster in clusters.values()]


def _root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]  # path halving keeps the trees flat
        node = parent[node]
    return node
