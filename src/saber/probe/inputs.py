"""Capture what residual writers read: their inputs at a few positions of each prompt, all writers in one pass."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from saber.errors import ProbeError
from saber.model.anatomy import Anatomy, Writer
from saber.model.forward import call
from saber.model.generate import Answer, Batch, Progress, batches, tail_length
from saber.model.load import ChatModel
from saber.model.weights import held
from saber.prompts.prompt import Prompt
from saber.prompts.render import encode

_OPENINGS = ("hello", "Why does it rain?", "12 + 7")
"""Messages that share no first token: what they have in common stands before every message."""


@dataclass(frozen=True, eq=False)
class WriterInputs:
    """Inputs of residual writers, one row a token, the same tokens for all writers.

    Attributes:
        rows: By writer, fp32 on the CPU.
        prompt: Index of the prompt that each row comes from, ascending.
        position: Index of the row's token among those of the prompt and its answer, without padding; never 0.
        unread: Writers without rows, and why: only the standard reader (M0) edits them.
    """

    rows: Mapping[str, Float[Tensor, "rows _"]]
    prompt: Int[Tensor, " rows"]
    position: Int[Tensor, " rows"]
    unread: Mapping[str, str]


@dataclass(frozen=True)
class _Places:
    """Where the rows of one batch stand, and where they go."""

    row: list[int]
    column: list[int]
    target: list[int]


def capture_inputs(
    chat: ChatModel,
    anatomy: Anatomy,
    writers: Sequence[Writer],
    prompts: Sequence[Prompt],
    *,
    answers: Sequence[Answer] | None = None,
    message_tokens: int = 4,
    answer_tokens: int = 4,
    most_rows: int = 1024,
    seed: int = 0,
    progress: Progress | None = None,
) -> WriterInputs:
    """Read the inputs of linear writers at the template's tail and at sampled tokens of message and answer.

    The first position is never read (BOS or not, it is where attention sinks), nor are padding, what the template
    puts before the message, and an answer's end token. The tokens of a prompt depend on its content and the seed
    alone. Memory: `4 most_rows` bytes for each input channel of each writer.

    Nothing in the first words of a message says that it will be harmful, so harmful rows that are to be told apart from
    preserved ones are read without samples (both 0): the template's tail is where refusal is decided.

    Args:
        chat: The model; whatever hooks are on it act.
        anatomy: Where its blocks are.
        writers: Those to read. Experts, biases, embeddings and what is no linear module are left out.
        prompts: What is asked, of one role.
        answers: The base model's own answers, one for each prompt.
        message_tokens: Most sampled tokens of each message.
        answer_tokens: Most sampled tokens of each answer.
        most_rows: Most rows in all. Beyond, every prompt keeps as many as the others, one more or less.
        seed: Seed of the sample.
        progress: Called with (done, total).

    Raises:
        ProbeError: An input is not finite.
    """
    tails = None if answers is None else [_without_end(answer, chat.eos) for answer in answers]
    # Made before the hooks are on: a first batch may run the model once to see how it bears padding.
    made = list(batches(chat, [prompt.text for prompt in prompts], tails))
    chosen = _chosen(chat, made, prompts, (message_tokens, answer_tokens), most_rows, seed)
    unread = {writer.name: why for writer in writers if (why := _unreadable(chat, writer))}
    read = {writer.name: writer for writer in writers if writer.name not in unread}
    rows = {name: torch.empty(len(chosen), w.shape[1 - w.axis]) for name, w in read.items()}
    done = 0
    for batch in made:
        _read_batch(chat, anatomy, batch, _places(batch, chosen), read, rows, unread)
        done += len(batch.index)
        if progress:
            progress(done, len(prompts))
    kept = {name: values for name, values in rows.items() if name not in unread}
    _check_finite(kept, chat)
    table = torch.tensor(chosen, dtype=torch.long).reshape(-1, 2)
    return WriterInputs(kept, table[:, 0], table[:, 1], unread)


def _without_end(answer: Answer, eos: Sequence[int]) -> list[int]:
    return list(itertools.takewhile(lambda token: token not in eos, answer.tokens))


def _unreadable(chat: ChatModel, writer: Writer) -> str:
    """Why a writer's input is not one vector a token that the whole module reads; empty if it is."""
    from transformers.pytorch_utils import Conv1D

    if writer.kind == "experts":
        return "an expert reads only the tokens that are routed to it"
    if writer.form != "matrix":
        return f"its form is {writer.form}, and only a matrix has an input to choose from"
    if not isinstance(chat.model.get_submodule(writer.module), nn.Linear | Conv1D):
        return "it belongs to no linear module, whose input a hook sees"
    return "each process sees a part of its input" if held(chat.model, writer.name) == "sharded" else ""


def _chosen(
    chat: ChatModel,
    made: Sequence[Batch],
    prompts: Sequence[Prompt],
    samples: tuple[int, int],
    most_rows: int,
    seed: int,
) -> list[tuple[int, int]]:
    """Places (prompt, position) of all rows, in order; `samples` are those of message and answer."""
    head, tail = _head_length(chat), max(tail_length(chat), 1)
    drawn: list[tuple[int, int, int, int]] = []
    for batch in made:
        lengths, answered = batch.mask.sum(1).tolist(), batch.answer_mask.sum(1).tolist()
        for place, length, answer in zip(batch.index, lengths, answered, strict=True):
            own = _own_seed(prompts[place], seed)
            generator = torch.Generator().manual_seed(own)
            end = length - answer
            behind = max(end - tail, 1)
            positions = [
                *range(behind, end),
                *_sample(range(head, behind), samples[0], generator),
                *_sample(range(end, length), samples[1], generator),
            ]
            shuffled = torch.randperm(len(positions), generator=generator).tolist()
            drawn += [(turn, own, place, positions[i]) for turn, i in enumerate(shuffled)]
    # Prompts take turns, so that a bound takes from all of them alike.
    return sorted((place, position) for _, _, place, position in sorted(drawn)[:most_rows])


def _own_seed(prompt: Prompt, seed: int) -> int:
    """The same whatever stands beside the prompt, and before it."""
    return int.from_bytes(hashlib.sha256(f"{seed} {prompt.key}".encode()).digest()[:7])


def _sample(among: range, most: int, generator: torch.Generator) -> list[int]:
    order = torch.randperm(len(among), generator=generator)[:most].tolist()
    return [among[i] for i in order]


def _head_length(chat: ChatModel) -> int:
    """Number of tokens before every message, at least the first of all."""
    texts = encode(chat.tokenizer, list(_OPENINGS), chat.system, thinking=chat.config.thinking)
    same = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False))
    return max(len(list(same)), 1)


def _places(batch: Batch, chosen: Sequence[tuple[int, int]]) -> _Places:
    row_of = {place: row for row, place in enumerate(batch.index)}
    padding = (batch.ids.shape[1] - batch.mask.sum(1)).tolist()
    found = [
        (row_of[place], padding[row_of[place]] + position, target)
        for target, (place, position) in enumerate(chosen)
        if place in row_of
    ]
    return _Places([f[0] for f in found], [f[1] for f in found], [f[2] for f in found])


@torch.inference_mode()
def _read_batch(
    chat: ChatModel,
    anatomy: Anatomy,
    batch: Batch,
    places: _Places,
    read: Mapping[str, Writer],
    rows: Mapping[str, Tensor],
    unread: dict[str, str],
) -> None:
    """Fill in the rows of one batch; a writer that cannot be read after all is named in `unread`."""
    seen: set[str] = set()

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if name in seen:
                unread[name] = "it writes more than once in one pass"
            seen.add(name)
            given = args[0] if args else next(iter(kwargs.values()))
            # Some blocks put all tokens of a batch into one row of vectors.
            flat = given.ndim == 2 and len(given) == batch.ids.numel()
            x = given.unflatten(0, tuple(batch.ids.shape)) if flat else given
            if x.shape != (*batch.ids.shape, rows[name].shape[1]):
                unread[name] = f"its input has shape {tuple(given.shape)}, not one vector a token"
                return
            rows[name][places.target] = x[places.row, places.column].float().cpu()

        return hook

    handles = []
    try:
        for name, writer in read.items():
            module = chat.model.get_submodule(writer.module)
            handles.append(module.register_forward_pre_hook(watch(name), with_kwargs=True))
        call(chat.model.get_submodule(anatomy.decoder), batch.ids, batch.mask)
    finally:
        for handle in handles:
            handle.remove()
    unread.update({name: "its module is not called on text" for name in read if name not in seen})


def _check_finite(rows: Mapping[str, Tensor], chat: ChatModel) -> None:
    for name, values in rows.items():
        bad = ~torch.isfinite(values).all(-1)
        if bad.any():
            raise ProbeError(
                f"inputs of {name} are not finite (at {int(bad.sum())} of {len(values)} tokens, weights in "
                f"{str(chat.dtype).removeprefix('torch.')})",
                hint="fp16 overflows in many models: use --dtype bfloat16 (or float32).",
            )
