"""Blocks before the first edit are computed once for all candidates, and replayed from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saber.errors import AnatomyError
from saber.model.discovery.chain import find_chain
from saber.model.forward import call
from saber.model.generate import Batch
from saber.model.once import Once, close
from saber.model.padding import Company, company
from saber.model.twin import D_MODEL, FAILURES, build_twin, twin_inputs

KEEP_BYTES = 512 << 20
"""Default for the outputs that stay on their own device; what is beyond lies in the machine's memory."""

_PADDING = 5
"""Pad tokens of a row of the test."""


class Prefix:
    """What a block puts out for texts that are run again and again; it and all blocks before it are skipped.

    Only for passes without a cache, and only for numbers of blocks that are `shareable`.

    Attributes:
        blocks: How many blocks are skipped.
    """

    def __init__(self, model: nn.Module, layers: str, blocks: int, *, keep_bytes: int = KEEP_BYTES) -> None:
        """Nothing is recorded yet.

        Args:
            model: A causal language model.
            layers: Name of the list of its blocks.
            blocks: How many to skip; fewer than there are.
            keep_bytes: See `KEEP_BYTES`.
        """
        listed = list(model.get_submodule(layers).children())
        self.blocks = blocks
        self._model, self._skipped, self._later = model, listed[:blocks], listed[blocks:]
        self._known: dict[tuple[int, ...], list[Tensor]] = {}
        self._nesting: Any = None
        self._room = keep_bytes

    def known(self, batch: Batch) -> bool:
        """Whether all texts of a batch are recorded."""
        return not self.blocks or all(text in self._known for text in _texts(batch))

    @torch.inference_mode()
    def record(self, batch: Batch) -> None:
        """Run the blocks on a batch's texts, each once, and keep what the last of them puts out.

        The blocks must be unedited at this moment.
        """
        texts = _texts(batch)
        rows = [row for row, text in enumerate(texts) if text not in self._known and text not in texts[:row]]
        if not self.blocks or not rows:
            return
        caught: list[Any] = []
        handle = self._skipped[-1].register_forward_hook(lambda block, args, output: caught.append(output))
        try:
            # The later blocks put out the same, so they cost nothing; an exception instead would pass by the hooks
            # that move weights from device to device.
            with _instead(self._later, lambda: caught[0]):
                call(self._model, batch.ids[rows], batch.mask[rows], keep=1)
        finally:
            handle.remove()
        shape = len(rows), batch.ids.shape[1]
        found = _streams(caught[0], shape)
        self._nesting = _nesting(caught[0], shape)
        for place, row in enumerate(rows):
            self._known[texts[row]] = [self._kept(each[place, -len(texts[row]) :]) for each in found]

    def _kept(self, value: Tensor) -> Tensor:
        self._room -= value.numel() * value.element_size()
        return value.clone() if self._room >= 0 else value.cpu()

    @contextmanager
    def replayed(self, batch: Batch) -> Iterator[None]:
        """One pass on this batch, whose texts are all recorded, skips the blocks while the context is open."""
        if not self.blocks:
            yield
            return
        made = self._padded(batch)
        with _instead(self._skipped, lambda: _rebuilt(self._nesting, iter(made))):
            yield

    def _padded(self, batch: Batch) -> list[Tensor]:
        """The recorded outputs as one batch, 0 where padding stands."""
        texts = _texts(batch)
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        rows = torch.tensor([distinct[text] for text in texts], device=batch.ids.device)
        made = []
        for parts in zip(*(self._known[text] for text in distinct), strict=True):
            first = parts[0]
            shape = (len(distinct), batch.ids.shape[1], *first.shape[1:])
            value = torch.zeros(shape, dtype=first.dtype, device=batch.ids.device)
            for row, part in enumerate(parts):
                value[row, -len(part) :] = part
            made.append(value[rows])
        return made


def _texts(batch: Batch) -> list[tuple[int, ...]]:
    lengths = batch.mask.sum(-1).tolist()
    return [tuple(ids[-length:]) for ids, length in zip(batch.ids.tolist(), lengths, strict=True)]


@contextmanager
def _instead(blocks: Sequence[nn.Module], output: Callable[[], Any]) -> Iterator[None]:
    """Blocks put out something given, and do nothing, while the context is open."""
    own = [vars(block).get("forward") for block in blocks]
    try:
        for block in blocks:
            vars(block)["forward"] = lambda *args, **kwargs: output()
        yield
    finally:
        for block, before in zip(blocks, own, strict=True):
            if before is None:
                vars(block).pop("forward", None)
            else:
                vars(block)["forward"] = before


def _streams(output: Any, shape: tuple[int, int]) -> list[Tensor]:
    """Tensors in a block's output that have a row and a place for every token."""
    if torch.is_tensor(output):
        return [output] if tuple(output.shape[:2]) == shape else []
    if isinstance(output, tuple | list):
        return [tensor for item in output for tensor in _streams(item, shape)]
    return []


def _nesting(output: Any, shape: tuple[int, int]) -> Any:
    """A block's output with True for every stream, and None for what is none (attention weights)."""
    if torch.is_tensor(output):
        return True if tuple(output.shape[:2]) == shape else None
    if isinstance(output, tuple | list):
        return type(output)(_nesting(item, shape) for item in output)
    return None


def _rebuilt(nesting: Any, made: Iterator[Tensor]) -> Any:
    """A block's output with copies of the given streams: a block may add to its input in place."""
    if nesting is True:
        return next(made).clone()
    return None if nesting is None else type(nesting)(_rebuilt(item, made) for item in nesting)


class Shareable:
    """How many of a model's first blocks may be skipped; each number is tried when it is asked for."""

    def __init__(self, twin: Any = None, layers: str = "", beside: Company = "any") -> None:
        """Without a twin, none may be."""
        self._twin, self._layers, self._beside = twin, layers, beside
        self._found: dict[int, bool] = {0: True}

    def __contains__(self, blocks: int) -> bool:
        if blocks not in self._found:
            depth = 0 if self._twin is None else len(list(self._twin.get_submodule(self._layers).children()))
            self._found[blocks] = 0 < blocks < depth and _replays(
                self._twin, self._layers, blocks, self._beside
            )
        return self._found[blocks]

    def most(self, blocks: int) -> int:
        """The largest number, at most the given one."""
        return next(k for k in range(max(blocks, 0), -1, -1) if k in self)


def _twin_shareable(model: Any) -> Shareable:
    try:
        twin = build_twin(type(model), model.config)
        layers = find_chain(twin, twin_inputs(twin), D_MODEL).layers
        return Shareable(twin, layers, company(model))
    except (AnatomyError, *FAILURES):
        return Shareable()


shareable = Once(_twin_shareable, Shareable())
"""How many blocks may be skipped; tried once for each class and config, on its tiny twin.

Where later blocks need more than the output of the one before them (keys and values that Gemma 4 shares, Gemma 3n's
several streams, what Bamba's mixers leave behind), skipping is sound up to where that is made, or not at all.
"""


@torch.inference_mode()
def _replays(twin: Any, layers: str, blocks: int, beside: Company) -> bool:
    """Whether replayed passes have the logits of whole ones: in other company, behind other texts."""
    row = twin_inputs(twin)["input_ids"][0]
    first = _test_batch([row, row.roll(3)[(_PADDING if beside == "any" else 0) :]])
    between = _test_batch([row.flip(0), row.roll(1)])
    again = first
    if beside == "any":
        again = Batch([0, 1, 2], first.ids[[1, 0, 1]], first.mask[[1, 0, 1]], first.answer_mask[[1, 0, 1]])
    if beside == "none":
        first, between, again = (_single(batch) for batch in (first, between, again))
    try:
        prefix = Prefix(twin, layers, blocks)
        prefix.record(first)
        for keep in (0, 2):
            call(twin, between.ids, between.mask)  # what a module keeps of its last pass must not help
            with prefix.replayed(again):
                found = call(twin, again.ids, again.mask, keep=keep).logits
            whole = call(twin, again.ids, again.mask, keep=keep).logits
            shown = again.mask[:, -whole.shape[1] :].bool()
            if not close(whole[shown], found[shown]):
                return False
    except (AnatomyError, *FAILURES):
        return False
    return True


def _test_batch(rows: Sequence[Tensor]) -> Batch:
    width = max(len(row) for row in rows)
    ids = torch.stack([torch.cat([row[:1].expand(width - len(row)), row]) for row in rows])
    mask = torch.stack([(torch.arange(width) >= width - len(row)).long() for row in rows])
    return Batch(list(range(len(rows))), ids, mask, torch.zeros_like(mask))


def _single(batch: Batch) -> Batch:
    return Batch([0], batch.ids[:1], batch.mask[:1], batch.answer_mask[:1])
