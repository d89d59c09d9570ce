"""Where a thinking model's visible answer starts, in text and in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

THINKING: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<|channel>thought", "<channel|>"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
    ("[THINK]", "[/THINK]"),
    ("<thought>", "</thought>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
)
"""Opening and closing marks: Qwen and DeepSeek, Gemma 4, gpt-oss, Magistral, and others."""


def opens_thought(rendered: str) -> bool:
    """Whether a rendered prompt ends inside a thought that its template has opened."""
    return any(rendered.rfind(opener) > rendered.rfind(closer) for opener, closer in THINKING)


def visible_offset(text: str, *, opened: bool = False) -> int | None:
    """Place in the text where the visible answer starts; None while a thought is unclosed.

    Whitespace is skipped. A closing mark without an opening one ends a thought that the chat template itself
    has opened (`opened` says that it has, so that without a closing mark nothing is visible). Marks that
    appear later in the answer (an explanation of the HTML-like tag, say) are left alone.
    """
    if opened and not any(closer in text for _, closer in THINKING):
        return None
    offset = _skip_space(text, 0)
    while True:
        after = _after_thought(text, offset)
        if after is None:
            return None
        if after == offset:
            return offset
        offset = _skip_space(text, after)


def _skip_space(text: str, offset: int) -> int:
    return len(text) - len(text[offset:].lstrip())


def _after_thought(text: str, offset: int) -> int | None:
    """End of the thought that starts at `offset`; `offset` if there is none; None if it never ends."""
    for opener, closer in THINKING:
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
