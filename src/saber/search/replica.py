"""What runs in a worker's process: one replica of the model, and errors that find their way back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from saber.errors import SaberError


@dataclass(frozen=True)
class Refusal:
    """A SaberError on its way back: as a value, because its keyword-only hint does not survive pickling."""

    kind: type[SaberError]
    message: str
    hint: str

    def error(self) -> SaberError:
        """The error as it was raised."""
        return self.kind(self.message, hint=self.hint)


class Replica:
    """What runs in a worker's process: one replica, built when it is first needed."""

    def __init__(self, build: Callable[[], Any], threads: int) -> None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._build = build
        self._threads = threads
        self._built: Any = None

    def ping(self) -> int:
        """The process's id."""
        return os.getpid()

    def prepare(self) -> Refusal | None:
        """Build the replica."""
        try:
            if self._built is None:
                self._built = self._build()
                if "torch" in sys.modules:
                    sys.modules["torch"].set_num_threads(self._threads)
        except SaberError as error:
            return Refusal(type(error), error.message, error.hint)
        return None

    def run(self, method: str, args: tuple[Any, ...]) -> Any:
        """Call a method of the replica."""
        refused = self.prepare()
        try:
            return refused or getattr(self._built, method)(*args)
        except SaberError as error:
            return Refusal(type(error), error.message, error.hint)
