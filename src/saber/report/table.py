"""A table of words, which the card writes as Markdown and the page as HTML."""

from __future__ import annotations

from dataclasses import dataclass

_LONG = 12


@dataclass(frozen=True)
class Table:
    """A table of text; the first column heads its row."""

    caption: str
    """What it shows, one phrase."""
    columns: tuple[str, ...]
    """Column heads."""
    rows: tuple[tuple[str, ...], ...]
    """Cells as text, not escaped."""
    numeric: tuple[int, ...] = ()
    """Columns of plain numbers, set flush right."""

    @property
    def long(self) -> bool:
        """Whether it is folded away at first."""
        return len(self.rows) > _LONG
