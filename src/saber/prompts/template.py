"""One chat template and how it wants to be used, found by rendering it: nothing here knows a family."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Protocol, runtime_checkable

from saber.config import Thinking
from saber.errors import ModelError
from saber.prompts.thought import closing_marks, first_opener, opening_mark, opens_thought

QUESTION = "Name a colour."
"""What a template is tried with."""

_ANSWER = "Periwinkle"
_DATE = date(2024, 7, 26)
_DATE_CALL = re.compile(r"""strftime_now\(\s*(?:"([^"{}]*)"|'([^'{}]*)')\s*\)""")


@runtime_checkable
class ChatTokenizer(Protocol):
    """What SABER needs of a Hugging Face tokenizer; `chat_template` and `bos_token_id` are optional."""

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]],
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


@dataclass(frozen=True)
class Template:
    """A chat template with the choices that make it work.

    Attributes:
        tokenizer: Whose template it is.
        source: Its text; empty where the tokenizer does not show it.
        system: System message; None for none.
        options: Arguments that the template reads: switches of thinking, today's date.
        parts: Whether contents go in as lists of parts, as multimodal templates want them.
        ending: Put behind every rendered prompt, so that what comes next is the answer.
    """

    tokenizer: ChatTokenizer
    source: str
    system: str | None
    options: dict[str, Any]
    parts: bool = False
    ending: str = ""

    def render(self, prompt: str) -> str:
        """A user message up to where its answer starts.

        Raises:
            ModelError: The template cannot render it.
        """
        try:
            return self.apply(prompt) + self.ending
        except _failures() as error:
            raise _cannot_render(error, self.system) from None

    def apply(self, prompt: str, answer: str | None = None, *, generation: bool = True) -> str:
        """What the template itself makes of a message, or of a message and its answer."""
        turns = [("user", prompt)] if self.system is None else [("system", self.system), ("user", prompt)]
        if answer is not None:
            turns.append(("assistant", answer))
        return str(
            self.tokenizer.apply_chat_template(
                [{"role": role, "content": self._content(text)} for role, text in turns],
                add_generation_prompt=generation,
                tokenize=False,
                **self.options,
            )
        )

    def _content(self, text: str) -> str | list[dict[str, str]]:
        return [{"type": "text", "text": text}] if self.parts else text

    def past_answer(self) -> tuple[str, str]:
        """What the template writes around an answer of the past: up to it, and behind it; empty if it shows none."""
        try:
            before, found, behind = self.apply(QUESTION, _ANSWER, generation=False).partition(_ANSWER)
        except _failures():
            return "", ""
        return (before, behind) if found else ("", "")


def read_template(
    tokenizer: ChatTokenizer, system: str | None = None, thinking: Thinking = "off"
) -> Template:
    """Find out how a chat template wants to be used.

    Tried in this order, until one rendering contains the message: contents as text, then as lists of parts; without
    a system message, then with an empty one (only where none is asked for); with the switches that the template
    names, then without.

    Args:
        tokenizer: A chat model's tokenizer.
        system: System message; none if None or empty, and the template's own default then stays.
        thinking: `off` ends every rendering where the answer starts: the template's switch is turned off, a thought
            that it opens all the same is closed empty, and what it writes before a past answer (the header of the
            final channel, say) is written. `on` leaves thoughts to the model.

    Raises:
        ModelError: There is no chat template, or it cannot take the messages.
    """
    source = _source(tokenizer)
    options = _options(source, thinking)
    failure: ModelError | None = None
    for given, parts, first in itertools.product(
        (options, {}) if options else ({},), (False, True), (system or None, *(() if system else ("",)))
    ):
        template = Template(tokenizer, source, first, given, parts)
        try:
            text = template.apply(QUESTION)
        except _failures() as error:
            failure = failure or _cannot_render(error, system)
            continue
        if QUESTION in text:
            _check_system(system, text)
            return replace(template, ending=_ending(template, thinking))
    raise failure or ModelError(
        "The chat template leaves out the user message.",
        hint="Check the tokenizer's chat_template, or pass another instruct model.",
    )


def _source(tokenizer: Any) -> str:
    found = getattr(tokenizer, "chat_template", None)
    if not found:
        raise ModelError(
            "The tokenizer has no chat template, so this is not a chat model.",
            hint="Pass an instruct (chat) model: its tokenizer_config.json or chat_template.jinja has one.",
        )
    if isinstance(found, dict):
        if "default" not in found:
            raise ModelError(
                f"The tokenizer has chat templates named {', '.join(sorted(found))} and none named default.",
                hint="Rename the one to use to `default` in the checkpoint's tokenizer files.",
            )
        found = found["default"]
    return str(found)


def _options(source: str, thinking: Thinking) -> dict[str, Any]:
    """What the template is told, as far as it names it."""
    off = thinking == "off"
    known: dict[str, Any] = {
        "enable_thinking": not off,
        "thinking": not off,
        "date_string": f"{_DATE:%d %b %Y}",
    }
    if off:
        known["thinking_budget"] = 0
        if re.search(r"""reasoning_effort[^%}]{0,60}["']none["']""", source):
            known["reasoning_effort"] = "none"
    options = {name: value for name, value in known.items() if re.search(rf"\b{name}\b", source)}
    # Some templates write today's date: the same run must not differ tomorrow.
    dated = _DATE_CALL.sub(lambda call: repr(_DATE.strftime(call[1] or call[2] or "")), source)
    return {**options, "chat_template": dated} if dated != source else options


def _check_system(system: str | None, text: str) -> None:
    if system and system.strip() not in text:
        # A template that drops the message would make the setting do nothing.
        raise ModelError(
            "The chat template leaves out the system message.",
            hint="Run without a system prompt, or put its text into the prompts.",
        )


def _ending(template: Template, thinking: Thinking) -> str:
    """What has to follow every rendering so that the next token is the answer's (or, with thinking, the model's)."""
    asked = template.apply(QUESTION)
    past, _ = template.past_answer()
    before = past.removeprefix(asked).rstrip(" ") if past.startswith(asked) else ""
    if thinking == "on":
        # A template that ignores `add_generation_prompt` leaves the header of the answer to us.
        ignored = asked == template.apply(QUESTION, generation=False)
        header = before[: first_opener(before)] if ignored else ""
        return header if header.strip() else ""
    if before.strip() and not opens_thought(asked + before):
        return before
    closer = next(_known_closers(template, asked), "")
    return f"\n{closer}\n\n" if closer and asked.endswith("\n") else closer


def _known_closers(template: Template, asked: str) -> Iterator[str]:
    """Marks that close the thought in which a rendering ends, as far as template or tokenizer know them.

    A mark that is spelled in ordinary tokens (OLMo 3 Think) needs no knowing: its closing mark is spelled as well.
    """
    added: dict[str, int] = getattr(template.tokenizer, "get_added_vocab", dict)()
    spelled = opening_mark(asked) not in added
    for mark in closing_marks(asked):
        if spelled or mark in template.source or mark in added:
            yield mark


def _failures() -> tuple[type[Exception], ...]:
    """What a template raises that was not written for the messages or arguments it got."""
    from jinja2 import TemplateError

    return (TemplateError, TypeError, ValueError, LookupError, AttributeError)


def _cannot_render(error: BaseException, system: str | None) -> ModelError:
    if system:
        return ModelError(
            f"The chat template does not accept a system message: {error}",
            hint="Run without a system prompt, or put its text into the prompts.",
        )
    return ModelError(
        f"The chat template cannot render a single user message: {error}",
        hint="Set prompts.system if it wants a system message, or pass another instruct model.",
    )
