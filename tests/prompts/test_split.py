"""Splits: disjoint, whole clusters, blind to order, stratified, and the overlap check."""

import random
import time
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saber.errors import PromptError
from saber.prompts import Prompt, PromptSet, Split, check_disjoint, load_prompts, split_prompts
from saber.prompts.cluster import jaccard, near_duplicate_clusters, words

WORDS = [f"w{number}" for number in range(12)]
quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
texts = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join),
    min_size=1,
    max_size=40,
    unique=True,
)
prompt_sets = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from("abc")),
    min_size=9,
    max_size=60,
    unique_by=lambda row: row[0],
).map(
    lambda rows: make([f"topic{number} question{number}" for number, _ in rows], [name for _, name in rows])
)


def make(contents, categories=None, role="harmful"):
    categories = categories or [""] * len(contents)
    rows = zip(contents, categories, strict=True)
    return PromptSet(role, tuple(Prompt(text, role, category) for text, category in rows), "test")


def cut(prompts, **changes):
    knobs = {"select_share": 0.25, "test_share": 0.25, "near_duplicate": 0.7, "n_probe": None, "seed": 0}
    return split_prompts(prompts, **{**knobs, **changes})


def parts(split):
    return split.probe, split.select, split.test


@quick
@given(texts, st.sampled_from([0.3, 0.5, 0.7, 0.8, 1.0]))
def test_clusters_equal_the_brute_force_components(contents, threshold):
    groups = [{index} for index in range(len(contents))]
    for i, j in combinations(range(len(contents)), 2):
        if jaccard(words(contents[i]), words(contents[j])) >= threshold:
            one, two = (next(group for group in groups if index in group) for index in (i, j))
            if one is not two:
                one |= two
                groups.remove(two)
    found = near_duplicate_clusters(contents, threshold)
    assert sorted(map(sorted, groups)) == sorted(found)


def test_five_thousand_prompts_are_fast():
    rng = random.Random(0)
    vocabulary = [f"word{number}" for number in range(3000)]
    contents = [
        "Write a short tutorial on how to " + " ".join(rng.choices(vocabulary, k=6)) for _ in range(5000)
    ]
    started = time.perf_counter()
    cut(make(contents))
    # Comparing all 12.5 million pairs takes minutes; the margin is for slow machines.
    assert time.perf_counter() - started < 20


def test_texts_without_words_are_no_near_duplicates():
    assert len(near_duplicate_clusters(["?!", "...", "?!"], 0.5)) == 2


@quick
@given(prompt_sets, st.integers(0, 5), st.randoms())
def test_complete_disjoint_deterministic_and_blind_to_order(prompts, seed, rng):
    split = cut(prompts, seed=seed)
    keys = [prompt.key for part in parts(split) for prompt in part]
    assert sorted(keys) == sorted(prompt.key for prompt in prompts)
    assert all(parts(split))
    check_disjoint({"harmful": split})
    shuffled = list(prompts)
    rng.shuffle(shuffled)
    assert cut(replace(prompts, prompts=tuple(shuffled)), seed=seed) == split


@quick
@given(
    prompt_sets,
    st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.sampled_from([0.1, 0.2, 0.3, 0.4])),
)
def test_shares_hold_within_one_prompt_for_each_category(prompts, shares):
    split = cut(prompts, select_share=shares[0], test_share=shares[1])
    for part, share in ((split.select, shares[0]), (split.test, shares[1])):
        assert abs(len(part) - share * len(prompts)) <= 3


@quick
@given(prompt_sets)
def test_every_category_of_three_is_everywhere(prompts):
    split = cut(prompts)
    for category in "abc":
        if sum(prompt.category == category for prompt in prompts) >= 3:
            assert all(any(prompt.category == category for prompt in part) for part in parts(split))


@quick
@given(texts.filter(lambda contents: len(near_duplicate_clusters(contents, 0.6)) >= 3), st.integers(0, 3))
def test_clusters_stay_whole(contents, seed):
    split = cut(make(contents), near_duplicate=0.6, seed=seed)
    for cluster in near_duplicate_clusters(contents, 0.6):
        members = {contents[index] for index in cluster}
        assert sum(bool(members & {prompt.text for prompt in part}) for part in parts(split)) == 1


def test_the_seed_changes_the_split():
    prompts = load_prompts("builtin:real", "harmful")
    assert cut(prompts, seed=0) != cut(prompts, seed=1)


def test_probe_is_cut_evenly_and_nested():
    prompts = load_prompts("builtin:real", "harmful")
    full, cut_26, cut_20 = (cut(prompts, n_probe=n).probe for n in (None, 26, 20))
    assert (len(cut_26), len(cut_20)) == (26, 20)
    assert full[:26] == cut_26
    assert cut_26[:20] == cut_20
    assert all(sum(p.category == name for p in cut_26) == 2 for name in {p.category for p in prompts})
    assert cut(prompts, n_probe=9999).probe == full


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"select_share": 0.0}, "select_share is 0.0", "between 0 and 1"),
        ({"test_share": 1.0}, "test_share is 1.0", "between 0 and 1"),
        ({"select_share": 0.5, "test_share": 0.5}, "nothing for PROBE", "less than 1"),
        ({"near_duplicate": 0.0}, "near_duplicate is 0.0", "0.7"),
        ({"near_duplicate": 1.1}, "near_duplicate is 1.1", "0.7"),
        ({"n_probe": 0}, "PROBE prompts is 0", "at least 1"),
    ],
)
def test_knobs_out_of_range(changes, message, hint):
    with pytest.raises(PromptError) as caught:
        cut(make(["a", "b", "c", "d"]), **changes)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_too_few_prompts_says_how_many_are_needed():
    with pytest.raises(PromptError, match=r"3 harmful prompts form 2 group") as caught:
        cut(make(["tell me a story", "Tell me a story!", "sing"]), test_share=0.1)
    assert "at least 3 distinct prompts, 10 for the shares" in caught.value.hint
    assert all(parts(cut(make(["one", "two", "three"], ["a", "b", "c"]))))


def test_overlap_between_roles():
    harmful = cut(make(["Make trouble for somebody today", "b", "c", "d"]))
    harmless = cut(make(["make  trouble for somebody today", "e", "f", "g"], role="harmless"))
    with pytest.raises(
        PromptError, match=r"trouble for somebody today' is in harmful/\w+ and in harmless/"
    ) as caught:
        check_disjoint({"harmful": harmful, "harmless": harmless})
    assert caught.value.hint == "Remove it from prompts.harmful or from prompts.harmless."


def test_overlap_between_parts():
    prompt = Prompt("x" * 80, "harmful")
    with pytest.raises(
        PromptError, match="'" + "x" * 60 + "' is in harmful/probe and in harmful/test"
    ) as caught:
        check_disjoint({"harmful": Split((prompt,), (), (prompt,))})
    assert "split_prompts" in caught.value.hint
