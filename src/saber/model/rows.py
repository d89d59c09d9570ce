"""Batches of rows that are tokenised already: the same prompt may stand in many of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import torch

from saber.model.generate import Batch, pad_id
from saber.model.load import ChatModel
from saber.model.padding import company

Size = Callable[[int], int]
"""Most rows of a batch whose longest row has this many tokens; never more for a longer one."""


def row_batches(
    chat: ChatModel, rows: Sequence[Sequence[int]], size: Size, answers: Sequence[int] | None = None
) -> Iterator[Batch]:
    """Sort by length and pad on the left, equal rows side by side; see `batches`.

    Args:
        chat: The model that they are for.
        rows: Token ids.
        size: Asked anew for every batch, so it may shrink on the way.
        answers: How many tokens at the end of each row are an answer; none when left out.
    """
    order = sorted(range(len(rows)), key=lambda place: (len(rows[place]), rows[place], place))
    beside = company(chat.model) if len(rows) > 1 else "any"
    groups = [order] if beside == "any" else [list(g) for _, g in groupby(order, lambda i: len(rows[i]))]
    for group in groups:
        start = 0
        while start < len(group):
            lengths = [len(rows[place]) for place in group[start:]]
            fitting = 1 if beside == "none" else _fitting(lengths, size)
            yield _padded(chat, group[start : start + fitting], rows, answers)
            start += fitting


def _fitting(lengths: Sequence[int], size: Size) -> int:
    """Rows from the start that fit beside the longest of them; the lengths ascend."""
    fitting = min(len(lengths), max(1, size(lengths[0])))
    while fitting > 1 and fitting > (allowed := max(1, size(lengths[fitting - 1]))):
        fitting = max(allowed, fitting // 2)
    return fitting


def _padded(
    chat: ChatModel, index: list[int], rows: Sequence[Sequence[int]], answers: Sequence[int] | None
) -> Batch:
    width = max(len(rows[place]) for place in index)
    ids = torch.full((len(index), width), pad_id(chat), dtype=torch.long)
    mask, answer_mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, place in enumerate(index):
        ids[row, width - len(rows[place]) :] = torch.tensor(rows[place])
        mask[row, width - len(rows[place]) :] = 1
        if answers is not None:
            answer_mask[row, width - answers[place] :] = 1
    device = chat.device
    return Batch(index, ids.to(device), mask.to(device), answer_mask.to(device))


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The two halves of a batch's rows, padded as they were."""
    middle = len(batch.index) // 2
    return _part(batch, slice(middle)), _part(batch, slice(middle, None))


def _part(batch: Batch, rows: slice) -> Batch:
    return Batch(batch.index[rows], batch.ids[rows], batch.mask[rows], batch.answer_mask[rows])
