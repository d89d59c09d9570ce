"""Tokenizers with chat templates in the style of real families, each short and with one structural trait."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests import pico

FOLDER = Path(__file__).parent / "templates"
NAMES = tuple(sorted(file.stem for file in FOLDER.glob("*.jinja")))
_MARK = re.compile(r"<\|?[\w:/]+\|?>|<\w+\|>|<\|\w+>|\[/?[A-Z_]+\]")


def source(name: str) -> str:
    """A template's text."""
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")


def tokenizer(template: str, *marks: str) -> Any:
    """The pico tokenizer with a template; its marks, and more, are special tokens."""
    made = pico.tokenizer()
    special = dict.fromkeys([*_MARK.findall(template), *marks, "<turn>", "</turn>"])
    made.add_special_tokens({"extra_special_tokens": list(special)})
    made.chat_template = template
    return made


def chat(name: str, *marks: str) -> Any:
    """A tokenizer with one of the templates."""
    return tokenizer(source(name), *marks)
