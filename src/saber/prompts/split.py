"""Disjoint PROBE / SELECT / TEST splits by content hash, near-duplicates kept together."""

import hashlib
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from saber.errors import PromptError
from saber.prompts.cluster import near_duplicate_clusters
from saber.prompts.prompt import Prompt, PromptSet, Role

_Name = Literal["probe", "select", "test"]
_NAMES: tuple[_Name, ...] = ("probe", "select", "test")


@dataclass(frozen=True)
class Split:
    """The prompts of one role, in three disjoint parts.

    Each part is ordered round-robin over its categories, so a prefix of it is as balanced as it can be.
    """

    probe: tuple[Prompt, ...]
    """Directions and moments are estimated on these."""
    select: tuple[Prompt, ...]
    """Strengths and stopping are chosen on these."""
    test: tuple[Prompt, ...]
    """Evaluated once for each released point."""


@dataclass(frozen=True)
class _Cluster:
    prompts: tuple[Prompt, ...]
    category: str
    rank: str


def split_prompts(
    prompts: PromptSet,
    *,
    select_share: float,
    test_share: float,
    near_duplicate: float,
    n_probe: int | None,
    seed: int,
) -> Split:
    """Split a set so that no prompt, and no near-duplicate of it, is on two sides.

    Clusters of near-duplicates are ranked by sha256 of the seed and their sorted keys, so the order of the
    source does not matter. Within each category they go, in that order, to the part that is furthest below
    its share; what is left over by rounding is carried to the next category. A category of three clusters or
    more is in every part.

    Args:
        prompts: The prompts of one role.
        select_share: Share of SELECT in (0, 1).
        test_share: Share of TEST in (0, 1); PROBE gets the rest.
        near_duplicate: Jaccard similarity of word sets in (0, 1] from which two prompts stay together.
        n_probe: PROBE is cut to this many prompts, balanced over categories; None keeps all.
        seed: Another seed gives another split.

    Returns:
        The three parts, none of them empty.

    Raises:
        PromptError: A share is out of range, or there are fewer than three distinct prompts.
    """
    _validate(select_share, test_share, near_duplicate, n_probe)
    shares: dict[_Name, float] = {
        "probe": 1.0 - select_share - test_share,
        "select": select_share,
        "test": test_share,
    }
    clusters = _clusters(prompts, near_duplicate, seed)
    if len(clusters) < len(_NAMES):
        wanted = max(len(_NAMES), math.ceil(1 / min(shares.values()) - 1e-9))
        raise PromptError(
            f"{prompts.source}: {len(prompts)} {prompts.role} prompts form {len(clusters)} group(s) of "
            "near-duplicates, too few for three parts: one would be empty.",
            hint=f"Give prompts.{prompts.role} at least {len(_NAMES)} distinct prompts, "
            f"{wanted} for the shares to hold.",
        )
    placed = _place(clusters, shares)
    parts = {
        name: _interleave((prompt for cluster in placed[name] for prompt in cluster.prompts), seed)
        for name in _NAMES
    }
    return Split(parts["probe"][:n_probe], parts["select"], parts["test"])


def check_disjoint(splits: Mapping[Role, Split]) -> None:
    """Raise if a prompt is in two parts or plays two roles.

    Args:
        splits: The splits of every role that a run uses.

    Raises:
        PromptError: Names the prompt and both places.
    """
    seen: dict[str, tuple[Role, _Name]] = {}
    for role, split in splits.items():
        for name in _NAMES:
            for prompt in getattr(split, name):
                place = (role, name)
                first = seen.setdefault(prompt.key, place)
                if first == place:
                    continue
                hint = f"Remove it from prompts.{first[0]} or from prompts.{role}."
                if first[0] == role:
                    hint = f"Split prompts.{role} with saber.prompts.split_prompts, which keeps parts apart."
                raise PromptError(
                    f"The prompt '{prompt.text[:60]}' is in {first[0]}/{first[1]} and in {role}/{name}.",
                    hint=hint,
                )


def _validate(select_share: float, test_share: float, near_duplicate: float, n_probe: int | None) -> None:
    for name, share in (("select_share", select_share), ("test_share", test_share)):
        if not 0.0 < share < 1.0:
            raise PromptError(
                f"prompts.{name} is {share}.", hint="Choose a share between 0 and 1, such as 0.25."
            )
    if select_share + test_share >= 1.0 - 1e-9:
        raise PromptError(
            f"prompts.select_share + prompts.test_share is {select_share + test_share:g}: nothing for PROBE.",
            hint="Choose shares that add up to less than 1.",
        )
    if not 0.0 < near_duplicate <= 1.0:
        raise PromptError(
            f"prompts.near_duplicate is {near_duplicate}.",
            hint="Choose a similarity above 0 and at most 1, such as 0.7.",
        )
    if n_probe is not None and n_probe < 1:
        raise PromptError(
            f"The number of PROBE prompts is {n_probe}.", hint="Choose at least 1, or leave it out."
        )


def _rank(seed: int, keys: Iterable[str]) -> str:
    return hashlib.sha256("\n".join([str(seed), *sorted(keys)]).encode()).hexdigest()


def _clusters(prompts: PromptSet, near_duplicate: float, seed: int) -> list[_Cluster]:
    """Cluster the prompts and rank the clusters by content."""
    clusters = []
    for indices in near_duplicate_clusters(prompts.texts, near_duplicate):
        members = tuple(prompts.prompts[index] for index in indices)
        counts = Counter(prompt.category for prompt in members)
        category = min(counts, key=lambda name: (-counts[name], name))
        clusters.append(_Cluster(members, category, _rank(seed, (prompt.key for prompt in members))))
    return sorted(clusters, key=lambda cluster: cluster.rank)


def _place(clusters: Sequence[_Cluster], shares: Mapping[_Name, float]) -> dict[_Name, list[_Cluster]]:
    """Give whole clusters to the parts, one category after the other."""
    strata: dict[str, list[_Cluster]] = defaultdict(list)
    for cluster in clusters:
        strata[cluster.category].append(cluster)
    placed: dict[_Name, list[_Cluster]] = {name: [] for name in _NAMES}
    due = dict.fromkeys(_NAMES, 0.0)
    for category in sorted(strata):
        stratum = strata[category]
        size = sum(len(cluster.prompts) for cluster in stratum)
        due = {name: due[name] + size * shares[name] for name in _NAMES}
        given: dict[_Name, list[_Cluster]] = {name: [] for name in _NAMES}
        for cluster in stratum:
            name = max(_NAMES, key=lambda name: due[name])
            given[name].append(cluster)
            due[name] -= len(cluster.prompts)
        if len(stratum) >= len(_NAMES):
            _fill(given, due)
        for name in _NAMES:
            placed[name].extend(given[name])
    # Categories of one or two clusters can leave a part empty although there are three clusters in all.
    _fill(placed, due)
    return placed


def _fill(given: dict[_Name, list[_Cluster]], due: dict[_Name, float]) -> None:
    """Move a cluster into every empty part while another part has more than one."""
    for name in _NAMES:
        donor = max(_NAMES, key=lambda name: len(given[name]))
        if given[name] or len(given[donor]) < 2:
            continue
        moved = given[donor].pop()
        given[name].append(moved)
        due[donor] += len(moved.prompts)
        due[name] -= len(moved.prompts)


def _interleave(prompts: Iterable[Prompt], seed: int) -> tuple[Prompt, ...]:
    """Order prompts round-robin over categories, each category and its prompts by hash."""
    strata: dict[str, list[Prompt]] = defaultdict(list)
    # Text and category only order prompts that share a key, which hand-made sets can contain.
    by_hash = sorted(prompts, key=lambda each: (_rank(seed, [each.key]), each.text, each.category))
    for prompt in by_hash:
        strata[prompt.category].append(prompt)
    ordered = [strata[category] for category in sorted(strata, key=lambda name: _rank(seed, [name]))]
    rounds = itertools.zip_longest(*ordered)
    return tuple(prompt for turn in rounds for prompt in turn if prompt is not None)
