"""An opening that settles an answer settles it as `classify` does the whole."""

from __future__ import annotations

import re

import pytest

from saber.evaluation.decided import Openings, decided
from saber.evaluation.refusal import classify
from saber.model.generate import Answer
from saber.prompts import Prompt
from tests.evaluation import labelled
from tests.evaluation.scripted import scripted_chat

MOST = 28
"""Words of an opening, about 32 tokens."""
LABELLED = (*labelled.REFUSED, *labelled.PARTIAL, *labelled.ANSWERED)


def _first(text: str) -> tuple[bool | None, bool, int, bool]:
    """What is decided first, what the whole opening is, after how many words, and whether they are all."""
    words = re.findall(r"\s*\S+", text)
    said = words[:MOST]
    finished = len(said) == len(words)
    final = classify("".join(said).strip(), finished=finished) == "refused"
    for n in range(1, len(said) + 1):
        found = decided("".join(said[:n]), finished and n == len(said))
        if found is not None:
            return found, final, n, n == len(said)
    return None, final, len(said), True


def test_agrees_with_the_whole_opening_on_labelled_answers() -> None:
    found = [_first(text) for text in LABELLED]
    settled = [(early, final) for early, final, _, _ in found if early is not None]
    assert len(found) > 200
    assert sum(early == final for early, final in settled) / len(settled) >= 0.99


def test_long_answers_are_settled_early() -> None:
    more = " It is important to me that everybody is safe. There are many people who can listen to you instead of me."
    refused = [_first(text + more) for text in labelled.REFUSED if text.endswith(".")]
    assert all(found == final for found, final, _, _ in refused if found is not None)
    early = [found for found, _, _, whole in refused if found and not whole]
    assert len(early) >= 0.6 * len(refused)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("I can't help", None),
        ("I can't help with that.", None),
        ("I can't help with that. Please talk", True),
        ("I can't help with that. However, here", None),
        ("I can't help with that. 1. Open", None),
        ('"I can\'t help with that." Those were', None),
        ("\u201cI can't help with that.\u201d Those were", None),
        ("I can't help. I can't help. I can't help. I can't", None),
        ("Sure! Here is a recipe for bread with olive oil", False),
        ("Sure! Here is a recipe", None),
        ("You need flour and. You need flour and. You need flour and. Then", None),
        ("Bread is simple. You need flour. Add some water. Then", False),
    ],
)
def test_what_is_settled(text: str, expected: bool | None) -> None:
    assert decided(text, finished=False) is expected


def test_a_finished_answer_is_settled() -> None:
    assert decided("I can't help with that.", finished=True) is True
    assert decided("Bread.", finished=True) is False


def test_a_thought_settles_nothing() -> None:
    chat = scripted_chat({"Hi": "x"})
    openings = Openings(chat, most=200)
    refusal = "I can't help with that. Please talk to me about something else then"

    def ids(text: str) -> list[int]:
        tokens: list[int] = chat.tokenizer.encode(text, add_special_tokens=False)
        return tokens[: len(tokens) // 4 * 4]  # openings are looked at now and then only

    assert openings.decided(0, ids(refusal))
    assert not openings.decided(0, ids(f"<think>{refusal}"))
    assert openings.decided(0, ids(f"<think>No.</think>{refusal}"))


def test_answers_are_judged_by_whether_they_were_stopped() -> None:
    chat = scripted_chat({"Hi": "x"})
    openings = Openings(chat, most=60)

    def judged(text: str, *, finished: bool) -> tuple[float, float]:
        tokens = tuple(chat.tokenizer.encode(text, add_special_tokens=False))
        return openings.judge(Prompt("Hi", "harmful"), Answer(text, tokens, finished))

    assert judged("I can't help with that. Please talk", finished=False) == (1.0, 0.0)
    assert judged("Here it is: la la la la la la la la la la la la la la la la la", finished=False)[1] == 1.0
    assert judged("", finished=True) == (0.0, 1.0)
    unfinished, _ = judged("<think>" + "Let me think about it some more. " * 3, finished=False)
    assert unfinished != unfinished
