"""The marks between which models think, told by their form, so that no list of families is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator

THOUGHTS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<|channel>thought", "<channel|>"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
    ("[THINK]", "[/THINK]"),
    ("<thought>", "</thought>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|think|>", "<|/think|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
)
"""Marks that are looked for in a model's own words; a template may open a thought with another."""

_WORD = r"(?!no_?think)[\w:.-]*(?:think|thought|reason|reflect)[\w:.-]*"
_OPENERS = re.compile(
    rf"(?:(?P<open><\|?|\[|\u25c1)(?P<word>{_WORD})(?P<close>\|?>|\]|\u25b7)"
    r"|<\|channel>thought|<\|channel\|>analysis(?:<\|message\|>)?|<\|inner_prefix\|>)\s*\Z",
    re.IGNORECASE,
)
_CLOSERS = re.compile(
    rf"<\|?/{_WORD}\|?>|\[/{_WORD}\]|\u25c1/{_WORD}\u25b7|<\|end_(?:of_)?{_WORD}\|>|<\|{_WORD}_end\|>|<channel\|>"
    r"|<\|channel\|>final<\|message\|>|<\|inner_suffix\|>",
    re.IGNORECASE,
)


def opens_thought(rendered: str) -> bool:
    """Whether a rendered prompt ends inside a thought that its template has opened.

    An opening mark counts at the very end only: a system prompt may explain the marks without using them.
    """
    return _opener(rendered) is not None


def opening_mark(rendered: str) -> str:
    """The mark that opens the thought in which a rendered prompt ends; empty if it ends in none."""
    found = _opener(rendered)
    return "" if found is None else found.group().rstrip()


def _opener(rendered: str) -> re.Match[str] | None:
    found = _OPENERS.search(rendered)
    return None if found is None or _CLOSERS.fullmatch(found.group().rstrip()) else found


def thought_end(text: str) -> int | None:
    """Place behind the first closing mark in the words of a model whose template opened the thought; None without."""
    found = _CLOSERS.search(text)
    return None if found is None else found.end()


def closing_marks(rendered: str) -> Iterator[str]:
    """Marks that may close the thought that a rendered prompt ends in, the likeliest first.

    They follow from the opening mark by the usual forms: `<x>` and `</x>`, `<|x|>` and `<|/x|>`, `<|begin_of_x|>` and
    `<|end_of_x|>`. Whether a model knows a mark is for its template and tokenizer to say.
    """
    found = _opener(rendered)
    if found is None:
        return
    opener = found.group().rstrip()
    yield from (closer for known, closer in THOUGHTS if opener.startswith(known))
    if found["word"] is None:
        return
    before, word, behind = found["open"], found["word"], found["close"]
    for begin, end in (("begin", "end"), ("start", "end"), ("prefix", "suffix")):
        if begin in word.lower():
            yield before + re.sub(begin, end.upper() if word.isupper() else end, word, flags=re.I) + behind
    yield f"{before}/{word}{behind}"
    yield f"{before}end_{word}{behind}"
    yield f"{before}end_of_{word}{behind}"


def first_opener(text: str) -> int:
    """Place of the first opening mark in a text; its length if there is none."""
    places = (text.find(opener) for opener, _ in THOUGHTS)
    return min((place for place in places if place >= 0), default=len(text))
