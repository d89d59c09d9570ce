"""How much of a run is the model itself."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

import torch


class ForwardClock:
    """Adds up the wall time and the tokens of every forward pass while it is open.

    A pass is timed at the outermost transformers model that it enters: the whole one, or the decoder inside where
    that is called alone.
    """

    def __init__(self, model: Any) -> None:
        self.seconds = 0.0
        self.passes = 0
        self._depth = 0
        self._started = 0.0
        self._cuda = next(model.parameters()).is_cuda
        inside = [
            each for each in model.modules() if each is not model and hasattr(each, "get_input_embeddings")
        ]
        self._modules = [model, *inside]
        self._handles: list[Any] = []

    def __enter__(self) -> ForwardClock:
        for module in self._modules:
            self._handles.append(module.register_forward_pre_hook(self._enter))
            self._handles.append(module.register_forward_hook(self._exit, always_call=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def _enter(self, module: Any, arguments: Any) -> None:
        if self._depth == 0:
            self._started = self._now()
        self._depth += 1

    def _exit(self, module: Any, arguments: Any, output: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.seconds += self._now() - self._started
            self.passes += 1
