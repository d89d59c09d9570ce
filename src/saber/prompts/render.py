"""Chat rendering: the template applied once, never a second BOS, and the template's own last tokens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from saber.config import Thinking
from saber.prompts.template import QUESTION, ChatTokenizer, read_template

__all__ = ["ChatTokenizer", "encode", "render", "template_tail", "turn_end"]

# Contents of different lengths that end in different kinds of characters, so that no token of theirs, and
# no token merged across the border, is shared by all of them.
_CONTENTS = (
    QUESTION,
    "Why does it rain?",
    "List three fruits!",
    "hello",
    "Compute 12 + 7",
    "Define the word (noun)",
    'Translate "bridge"',
    "Finish this line:",
)


def render(
    tokenizer: ChatTokenizer,
    prompts: Sequence[str],
    *,
    system: str | None = None,
    thinking: Thinking = "off",
) -> list[str]:
    """Apply the chat template once to each prompt, up to where the answer starts.

    Args:
        tokenizer: A chat model's tokenizer.
        prompts: User messages. Control tokens written in them count as such, as they do on every server.
        system: System message put before each; none if None or empty.
        thinking: `off` (the first token of a thought is not the first token of the answer) or `on`; see
            `read_template`.

    Returns:
        One rendered text for each prompt.

    Raises:
        ModelError: There is no chat template, or it cannot take the messages.
    """
    template = read_template(tokenizer, system, thinking)
    return [template.render(prompt) for prompt in prompts]


def encode(
    tokenizer: ChatTokenizer,
    prompts: Sequence[str],
    system: str | None = None,
    *,
    thinking: Thinking = "off",
) -> list[list[int]]:
    """Tokenise the rendered prompts with exactly the BOS that the model expects.

    The rendered text is tokenised without special tokens, because most templates write BOS themselves. Where
    the template does not but the tokenizer would, BOS is put first, once.

    Args:
        tokenizer: A chat model's tokenizer.
        prompts: User messages.
        system: System message put before each; none if None or empty.
        thinking: See `render`.

    Returns:
        Token ids for each prompt, not padded.

    Raises:
        ModelError: See `render`.
    """
    bos: int | None = getattr(tokenizer, "bos_token_id", None)
    adds_bos = bos is not None and tokenizer.encode("a", add_special_tokens=True)[:1] == [bos]
    encoded = []
    for text in render(tokenizer, prompts, system=system, thinking=thinking):
        ids = list(tokenizer.encode(text, add_special_tokens=False))
        # Some tokenizers add BOS whatever they are told; with the template's own that makes two.
        while bos is not None and ids[:2] == [bos, bos]:
            ids = ids[1:]
        if bos is not None and adds_bos and ids[:1] != [bos]:
            ids = [bos, *ids]
        encoded.append(ids)
    return encoded


def template_tail(
    tokenizer: ChatTokenizer, system: str | None = None, *, thinking: Thinking = "off"
) -> list[int]:
    """Find the template's tokens after the user message, where refusal is read.

    They are the longest common suffix of the token ids of several renderings with different contents, so
    nothing has to be known about the family. Where the tokenizer merges the end of a message with the
    template, the merged token differs between contents and is left out.

    Args:
        tokenizer: A chat model's tokenizer.
        system: System message; none if None or empty.
        thinking: See `render`.

    Returns:
        The post-instruction token ids; empty if the template writes nothing after the message.

    Raises:
        ModelError: See `render`.
    """
    backwards = (reversed(ids) for ids in encode(tokenizer, _CONTENTS, system, thinking=thinking))
    same = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*backwards, strict=False))
    return [column[0] for column in same][::-1]


def turn_end(tokenizer: ChatTokenizer, system: str | None = None) -> int | None:
    """The control token that the template writes behind a past answer: what the model was taught to end with.

    Args:
        tokenizer: A chat model's tokenizer.
        system: System message; none if None or empty.

    Returns:
        Its id; None if the template ends an answer with plain text or shows no past answer.

    Raises:
        ModelError: See `render`.
    """
    _, behind = read_template(tokenizer, system, "on").past_answer()
    known: set[int] = {*getattr(tokenizer, "all_special_ids", ()), *_added(tokenizer).values()}
    first = tokenizer.encode(behind.lstrip(), add_special_tokens=False)[:1]
    return first[0] if first and first[0] in known else None


def _added(tokenizer: Any) -> dict[str, int]:
    found: dict[str, int] = tokenizer.get_added_vocab() if hasattr(tokenizer, "get_added_vocab") else {}
    return found
