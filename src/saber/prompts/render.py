"""Chat rendering: the template applied once, never a second BOS, and the template's own last tokens."""

import itertools
from collections.abc import Sequence
from datetime import date
from typing import Any, Protocol, runtime_checkable

from saber.errors import ModelError

# Contents of different lengths that end in different kinds of characters, so that no token of theirs, and
# no token merged across the border, is shared by all of them.
_CONTENTS = (
    "Name a colour.",
    "Why does it rain?",
    "List three fruits!",
    "hello",
    "Compute 12 + 7",
    "Define the word (noun)",
    'Translate "bridge"',
    "Finish this line:",
)


_DATE = date(2024, 7, 26)


@runtime_checkable
class ChatTokenizer(Protocol):
    """What SABER needs of a Hugging Face tokenizer; `chat_template` and `bos_token_id` are optional."""

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        add_generation_prompt: bool,
        tokenize: bool,
        **kwargs: Any,
    ) -> Any:
        """Render a conversation."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Turn text into token ids."""
        ...


def render(tokenizer: ChatTokenizer, prompts: Sequence[str], *, system: str | None = None) -> list[str]:
    """Apply the chat template once to each prompt, up to where the answer starts.

    Thinking is switched off for templates that know the switch (`enable_thinking`), because the first token
    of a thought is not the first token of the answer.

    Args:
        tokenizer: A chat model's tokenizer.
        prompts: User messages.
        system: System message put before each; none if None or empty.

    Returns:
        One rendered text for each prompt.

    Raises:
        ModelError: There is no chat template, or it cannot take the messages.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "The tokenizer has no chat template, so this is not a chat model.",
            hint="Pass an instruct (chat) model: its tokenizer_config.json or chat_template.jinja has one.",
        )
    return [_render_one(tokenizer, prompt, system) for prompt in prompts]


def encode(tokenizer: ChatTokenizer, prompts: Sequence[str], system: str | None = None) -> list[list[int]]:
    """Tokenise the rendered prompts with exactly the BOS that the model expects.

    The rendered text is tokenised without special tokens, because most templates write BOS themselves. Where
    the template does not but the tokenizer would, BOS is put first, once.

    Args:
        tokenizer: A chat model's tokenizer.
        prompts: User messages.
        system: System message put before each; none if None or empty.

    Returns:
        Token ids for each prompt, not padded.

    Raises:
        ModelError: See `render`.
    """
    bos: int | None = getattr(tokenizer, "bos_token_id", None)
    adds_bos = bos is not None and tokenizer.encode("a", add_special_tokens=True)[:1] == [bos]
    encoded = []
    for text in render(tokenizer, prompts, system=system):
        ids = list(tokenizer.encode(text, add_special_tokens=False))
        # Some tokenizers add BOS whatever they are told; with the template's own that makes two.
        while bos is not None and ids[:2] == [bos, bos]:
            ids = ids[1:]
        if bos is not None and adds_bos and ids[:1] != [bos]:
            ids = [bos, *ids]
        encoded.append(ids)
    return encoded


def template_tail(tokenizer: ChatTokenizer, system: str | None = None) -> list[int]:
    """Find the template's tokens after the user message, where refusal is read.

    They are the longest common suffix of the token ids of several renderings with different contents, so
    nothing has to be known about the family. Where the tokenizer merges the end of a message with the
    template, the merged token differs between contents and is left out.

    Args:
        tokenizer: A chat model's tokenizer.
        system: System message; none if None or empty.

    Returns:
        The post-instruction token ids; empty if the template writes nothing after the message.

    Raises:
        ModelError: See `render`.
    """
    backwards = (reversed(ids) for ids in encode(tokenizer, _CONTENTS, system))
    same = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*backwards, strict=False))
    return [column[0] for column in same][::-1]


def _render_one(tokenizer: ChatTokenizer, prompt: str, system: str | None) -> str:
    from jinja2 import TemplateError

    messages = [{"role": "user", "content": prompt}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    try:
        text = str(
            tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=True,
                tokenize=False,
                enable_thinking=False,
                # Some templates write today's date: the same run must not differ tomorrow.
                date_string=_DATE.strftime("%d %b %Y"),
                strftime_now=_DATE.strftime,
            )
        )
    except TemplateError as error:
        if not system:
            raise ModelError(
                f"The chat template cannot render a single user message: {error}",
                hint="Check the tokenizer's chat_template, or pass another instruct model.",
            ) from None
        raise ModelError(
            f"The chat template does not accept a system message: {error}",
            hint="Run without a system prompt, or put its text into the prompts.",
        ) from None
    if system and system.strip() not in text:
        # A template that drops the message would make the setting do nothing.
        raise ModelError(
            "The chat template leaves out the system message.",
            hint="Run without a system prompt, or put its text into the prompts.",
        )
    return text
