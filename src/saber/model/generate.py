"""Greedy answers and teacher-forced logits, in batches whose order never changes a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saber.model.load import ChatModel
from saber.prompts.render import encode

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Answer:
    """A greedy answer.

    Attributes:
        text: Decoded, without special tokens.
        tokens: Its ids, the end token included when it was reached.
        finished: Whether an end token was reached within the limit.
    """

    text: str
    tokens: tuple[int, ...]
    finished: bool


@dataclass(frozen=True)
class Batch:
    """Left-padded prompts (and answers) for one forward pass.

    Attributes:
        index: Places of the rows in the caller's order.
        ids: Token ids.
        mask: 1 where a token stands.
        answer_mask: 1 where a token of the answer stands.
    """

    index: list[int]
    ids: Int[Tensor, "rows tokens"]
    mask: Int[Tensor, "rows tokens"]
    answer_mask: Int[Tensor, "rows tokens"]

    @property
    def positions(self) -> Int[Tensor, "rows tokens"]:
        """Position of each token, counted without the padding."""
        return (self.mask.cumsum(-1) - 1).clamp(min=0)


def batches(
    chat: ChatModel, prompts: Sequence[str], answers: Sequence[Sequence[int]] | None = None
) -> Iterator[Batch]:
    """Sort by length and pad on the left; rows are tokenised chat prompts, followed by answers where given."""
    encoded = encode(chat.tokenizer, list(prompts), chat.system)
    tails = [list(answer) for answer in answers] if answers is not None else [[] for _ in encoded]
    order = sorted(range(len(encoded)), key=lambda i: (len(encoded[i]) + len(tails[i]), encoded[i]))
    for start in range(0, len(order), chat.batch_size):
        index = order[start : start + chat.batch_size]
        width = max(len(encoded[i]) + len(tails[i]) for i in index)
        ids = torch.full((len(index), width), int(chat.tokenizer.pad_token_id), dtype=torch.long)
        mask = torch.zeros_like(ids)
        answer_mask = torch.zeros_like(ids)
        for row, i in enumerate(index):
            tokens = encoded[i] + tails[i]
            ids[row, width - len(tokens) :] = torch.tensor(tokens)
            mask[row, width - len(tokens) :] = 1
            if tails[i]:
                answer_mask[row, width - len(tails[i]) :] = 1
        device = chat.device
        yield Batch(index, ids.to(device), mask.to(device), answer_mask.to(device))


_GREEDY = {
    "do_sample": False,
    "num_beams": 1,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_new_tokens": None,
    "min_length": 0,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "bad_words_ids": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
}
"""Plain argmax: a checkpoint's generation config (Qwen ships a repetition penalty) would change what is measured."""


@torch.inference_mode()
def generate(
    chat: ChatModel, prompts: Sequence[str], *, max_new_tokens: int, progress: Progress | None = None
) -> list[Answer]:
    """Greedy answers, in the order of the prompts."""
    answers: list[Answer | None] = [None] * len(prompts)
    done = 0
    for batch in batches(chat, prompts):
        out = chat.model.generate(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            max_new_tokens=max_new_tokens,
            **_GREEDY,
            pad_token_id=int(chat.tokenizer.pad_token_id),
            eos_token_id=list(chat.eos) or None,
        )
        for row, i in enumerate(batch.index):
            answers[i] = _answer(chat, out[row, batch.ids.shape[1] :].tolist())
        done += len(batch.index)
        if progress:
            progress(done, len(prompts))
    return [answer for answer in answers if answer is not None]


def _answer(chat: ChatModel, tokens: list[int]) -> Answer:
    ends = [place for place, token in enumerate(tokens) if token in chat.eos]
    kept = tokens[: ends[0] + 1] if ends else tokens
    text = chat.tokenizer.decode(kept, skip_special_tokens=True).strip()
    return Answer(text, tuple(kept), bool(ends))


@torch.inference_mode()
def forward(chat: ChatModel, batch: Batch) -> Float[Tensor, "rows tokens vocab"]:
    """Logits of one batch (no cache)."""
    out = chat.model(
        input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
    )
    logits: Tensor = out.logits
    return logits


@torch.inference_mode()
def first_logits(chat: ChatModel, batch: Batch) -> Float[Tensor, "rows vocab"]:
    """Logits of the first answer token: only the last position is unembedded."""
    out = chat.model(
        input_ids=batch.ids,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
        logits_to_keep=1,
    )
    logits: Tensor = out.logits[:, -1]
    return logits


def answer_logits(
    logits: Float[Tensor, "rows tokens vocab"], batch: Batch
) -> tuple[
    Float[Tensor, "answer_tokens vocab"], Int[Tensor, " answer_tokens"], Int[Tensor, " answer_tokens"]
]:
    """Logits that predict the answer tokens, those tokens, and the row of each."""
    predicts = batch.answer_mask[:, 1:].bool()
    rows = torch.arange(len(batch.index), device=predicts.device)[:, None].expand_as(predicts)[predicts]
    return logits[:, :-1][predicts], batch.ids[:, 1:][predicts], rows
