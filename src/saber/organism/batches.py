"""Training batches: examples of similar length, padded on the right, with the loss on the answer only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saber.organism import corpus
from saber.organism.tokenizer import TURN_END

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENS_PER_BATCH = 2048
EXAMPLES_PER_POOL = 2048


@dataclass(frozen=True)
class Batch:
    """Token ids (n, length), and per loss token its weight, its id and the flat position that predicts it."""

    ids: Tensor
    positions: Tensor
    targets: Tensor
    weights: Tensor
    """One over the root of the answer's length, so that short answers count; they sum to one."""


class Batches:
    """An endless, deterministic sequence of batches that remembers what it has shown."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int, tokens: int = TOKENS_PER_BATCH):
        """Start the corpus stream of a seed."""
        self.tokenizer, self.seed, self.tokens = tokenizer, seed, tokens
        self.examples = 0
        self.digest = sha256()
        self.prompts: set[str] = set()

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches, shuffled within a pool of examples."""
        order = Random(self.seed + 1)
        source = corpus.stream(self.seed)
        while True:
            rows = sorted(self._encode(list(islice(source, EXAMPLES_PER_POOL))), key=lambda row: len(row[0]))
            groups = list(self._grouped(rows))
            order.shuffle(groups)
            yield from map(_collate, groups)

    def _encode(self, examples: list[corpus.Example]) -> list[tuple[list[int], int]]:
        """Return (ids, length of the prompt part) of every example and note it in the corpus hash."""
        asked = [corpus.render(example.messages) for example in examples]
        answered = [example.answer + TURN_END for example in examples]
        for prompt, answer in zip(asked, answered, strict=True):
            self.digest.update(f"{prompt}{answer}\0".encode())
        for example in examples:
            self.prompts.update(m["content"] for m in example.messages if m["role"] == "user")
        self.examples += len(examples)
        heads = self.tokenizer(asked, add_special_tokens=False)["input_ids"]
        tails = self.tokenizer(answered, add_special_tokens=False)["input_ids"]
        return [(head + tail, len(head)) for head, tail in zip(heads, tails, strict=True)]

    def _grouped(self, rows: list[tuple[list[int], int]]) -> Iterator[list[tuple[list[int], int]]]:
        """Cut sorted rows into groups that hold at most ``tokens`` ids after padding."""
        group: list[tuple[list[int], int]] = []
        for row in rows:
            if group and (len(group) + 1) * len(row[0]) > self.tokens:
                yield group
                group = []
            group.append(row)
        yield group


def _collate(rows: list[tuple[list[int], int]]) -> Batch:
    width = max(len(ids) for ids, _ in rows)
    padded = torch.zeros(len(rows), width, dtype=torch.long)
    positions: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for index, (ids, start) in enumerate(rows):
        padded[index, : len(ids)] = torch.tensor(ids)
        positions.extend(range(index * width + start - 1, index * width + len(ids) - 1))
        targets.extend(ids[start:])
        weights.extend([(len(ids) - start) ** -0.5] * (len(ids) - start))
    shares = torch.tensor(weights)
    return Batch(padded, torch.tensor(positions), torch.tensor(targets), shares / shares.sum())
