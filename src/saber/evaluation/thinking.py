"""Where a thinking model's visible answer starts, in text and in tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from saber.prompts.thought import THOUGHTS, opens_thought, thought_end

__all__ = ["opens_thought", "visible_offset", "visible_start"]

_WRAPPERS = re.compile(r"\s*(?:<\|START_RESPONSE\|>|<\|begin_of_solution\|>|<answer>|<response>)\s*")
"""Marks that open an answer without being part of it (Cohere, Hunyuan and others)."""


def visible_offset(text: str, *, opened: bool = False) -> int | None:
    """Place in the text where the visible answer starts; None while a thought is unclosed.

    Whitespace and marks that only open the answer are skipped. A closing mark without an opening one ends a thought
    that the chat template itself has opened (`opened` says that it has: without a closing mark nothing is visible
    then, and the mark may be one that no other model has). Marks that appear later in the answer (an explanation of
    the HTML-like tag, say) are left alone.
    """
    start = thought_end(text) if opened else 0
    if start is None:
        return None
    offset = _skip(text, start)
    while True:
        after = _after_thought(text, offset)
        if after is None:
            return None
        if after == offset:
            return offset
        offset = _skip(text, after)


def _skip(text: str, offset: int) -> int:
    wrapper = _WRAPPERS.match(text, offset)
    start = wrapper.end() if wrapper else offset
    return len(text) - len(text[start:].lstrip())


def _after_thought(text: str, offset: int) -> int | None:
    """End of the thought that starts at `offset`; `offset` if there is none; None if it never ends."""
    for opener, closer in THOUGHTS:
        end = text.find(closer, offset)
        opens = text.startswith(opener, offset)
        if opens and end < 0:
            return None
        opened_by_template = not text[:offset].strip() and opener not in text[: max(end, 0)]
        if end >= 0 and (opens or opened_by_template):
            return end + len(closer)
    return offset


def visible_start(tokenizer: Any, tokens: Sequence[int], *, opened: bool = False) -> int | None:
    """Index of the first token of the visible answer; None if nothing is visible.

    Marks are often special tokens, which `Answer.text` leaves out, so the ids are decoded again with them. A
    thought's tokens cannot be told apart without decoding prefixes; the first prefix long enough is found by
    bisection, because decoding more tokens never shortens the text.
    """
    text = _with_specials(tokenizer, tokens)
    offset = visible_offset(text, opened=opened)
    if offset is None or offset == len(text):
        return None
    low, high = 0, len(tokens)
    while low < high:
        middle = (low + high) // 2
        if len(_with_specials(tokenizer, tokens[: middle + 1])) > offset:
            high = middle
        else:
            low = middle + 1
    return low


def _with_specials(tokenizer: Any, tokens: Sequence[int]) -> str:
    text: str = tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text
