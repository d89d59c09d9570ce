"""Reading the JSON of a run folder: a record knows its place, so that what is missing can be named."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from saber.errors import ReportError

INCOMPLETE = "Finish the run (`saber run MODEL --out DIR --resume`), then `saber report DIR`."
"""The hint for evidence that a finished run would hold."""


def refuse(what: str, hint: str = INCOMPLETE) -> NoReturn:
    """Raises the `ReportError` of a report that would have to leave something out.

    Raises:
        ReportError: Always.
    """
    raise ReportError(f"No report without its evidence: {what}.", hint=hint)


class Record:
    """One JSON object and where it stands, such as `evaluation.base.refusal`.

    Args:
        data: The object.
        place: Dotted path from the file's name, for error messages.
        hint: What to do when something is missing.
    """

    def __init__(self, data: object, place: str, hint: str = INCOMPLETE) -> None:
        if not isinstance(data, Mapping):
            refuse(f"{place} is missing" if data is None else f"{place} is not an object", hint)
        self.data: Mapping[str, object] = data
        self.place = place
        self.hint = hint

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self.data)

    def __contains__(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.data.get(key) is not None

    def section(self, key: str) -> Record:
        """The object under a key; it must be there."""
        return Record(self.data.get(key), f"{self.place}.{key}", self.hint)

    def option(self, key: str) -> Record:
        """The object under a key, empty where it is missing or null."""
        return self.section(key) if key in self else Record({}, f"{self.place}.{key}", self.hint)

    def sections(self, key: str) -> list[Record]:
        """The list of objects under a key; it must be there and may be empty."""
        return [
            Record(item, f"{self.place}.{key}[{index}]", self.hint)
            for index, item in enumerate(self._items(key))
        ]

    def integers(self, key: str) -> tuple[int, ...]:
        """The list of whole numbers under a key."""
        return tuple(int(value) for value in self.numbers(key))

    def numbers(self, key: str) -> tuple[float, ...]:
        """The list of finite numbers under a key."""
        values = [_finite(item) for item in self._items(key)]
        if None in values:
            refuse(f"{self.place}.{key} holds a value that is no finite number", self.hint)
        return tuple(value for value in values if value is not None)

    def texts(self, key: str) -> tuple[str, ...]:
        """The list of strings under a key."""
        return tuple(str(item) for item in self._items(key))

    def number(self, key: str) -> float:
        """The finite number under a key; it must be there."""
        value = _finite(self.data.get(key))
        if value is None:
            found = "missing" if key not in self else f"{self.data[key]!r}, no finite number"
            refuse(f"{self.place}.{key} is {found}", self.hint)
        return value

    def maybe_number(self, key: str) -> float | None:
        """The number under a key; None where it is missing, null or not finite (it could not be scored)."""
        return _finite(self.data.get(key))

    def text(self, key: str) -> str:
        """The string under a key; it must be there and not blank."""
        value = self.maybe_text(key)
        if not value:
            refuse(f"{self.place}.{key} is missing", self.hint)
        return value

    def maybe_text(self, key: str) -> str:
        """The value under a key as a string; empty where it is missing or null."""
        return str(self.data[key]).strip() if key in self else ""

    def flag(self, key: str) -> bool:
        """The boolean under a key; it must be there."""
        value = self.data.get(key)
        if not isinstance(value, bool):
            refuse(f"{self.place}.{key} is neither true nor false", self.hint)
        return value

    def _items(self, key: str) -> Sequence[object]:
        """The list under a key."""
        value = self.data.get(key)
        if not isinstance(value, Sequence) or isinstance(value, str):
            refuse(
                f"{self.place}.{key} is missing" if value is None else f"{self.place}.{key} is no list",
                self.hint,
            )
        return value


def _finite(value: object) -> float | None:
    """The value as a float if it is a finite number (a boolean is none)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
