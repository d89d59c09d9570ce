"""How long work tells what it is doing; the command line shows it, a library call stays silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

Step = Callable[[int, int], None]
"""Called with (done, total)."""


@runtime_checkable
class Watch(Protocol):
    """Someone who follows a run."""

    def stage(self, title: str) -> AbstractContextManager[Step]:
        """Open a step of the run; the value reports how far it is."""
        ...

    def note(self, text: str) -> None:
        """Say one finding."""
        ...

    def warn(self, text: str) -> None:
        """Say what must be heard even where progress is not wanted."""
        ...


class Silent:
    """A watch that shows nothing."""

    @contextmanager
    def stage(self, title: str) -> Iterator[Step]:
        """Report to nobody."""
        yield lambda done, total: None

    def note(self, text: str) -> None:
        """Say it to nobody."""

    def warn(self, text: str) -> None:
        """Say it to nobody."""
