"""Capture block outputs with hooks: only the wanted positions leave the forward pass, nothing else is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saber.errors import ProbeError
from saber.model.anatomy import Anatomy
from saber.model.forward import call
from saber.model.generate import Answer, Batch, Progress, batches, tail_length
from saber.model.load import ChatModel
from saber.probe.activations import Activations
from saber.probe.moments import winsorise
from saber.prompts.prompt import Prompt


def capture(
    chat: ChatModel,
    anatomy: Anatomy,
    prompts: Sequence[Prompt],
    *,
    position: str,
    answers: Sequence[Answer] | None = None,
    starts: Sequence[int | None] | None = None,
    answer_tokens: int = 8,
    winsorise_quantile: float = 1.0,
    progress: Progress | None = None,
) -> Activations:
    """Read `resid_post` of every layer at one position of every prompt.

    BOS is never read: positions are counted from the end and lie in the template's tail or the answer.

    Args:
        chat: The model; whatever hooks are on it act.
        anatomy: Where its blocks are.
        prompts: What is asked.
        position: `last` (final template token), `template` (mean of all post-instruction template tokens) or
            `answer` (mean of the first answer tokens; the last template token where there is none).
        answers: The base model's own answers; needed for `answer`.
        starts: Index of each answer's first visible token, behind its thought (None: nothing is visible); 0 for all
            when left out.
        answer_tokens: How many answer tokens `answer` averages.
        winsorise_quantile: Each vector is clipped at this quantile of its |values|.
        progress: Called with (done, total).

    Raises:
        ProbeError: An activation is not finite.
    """
    tails, counts = None, [1] * len(prompts)
    if position == "template":
        counts = [max(tail_length(chat), 1)] * len(prompts)
    elif position == "answer" and answers:
        tails, counts = _answer_openings(answers, starts, answer_tokens)
    values = torch.empty(len(prompts), anatomy.n_layers, anatomy.d_model)
    done = 0
    for batch in batches(chat, [prompt.text for prompt in prompts], tails):
        found = _read_batch(chat, anatomy, batch, [counts[place] for place in batch.index])
        values[torch.tensor(batch.index)] = found
        done += len(batch.index)
        if progress:
            progress(done, len(prompts))
    _check_finite(values, chat)
    flat = winsorise(values.flatten(0, 1), winsorise_quantile)
    return Activations(flat.reshape(values.shape), tuple(prompt.key for prompt in prompts), position)


def _answer_openings(
    answers: Sequence[Answer], starts: Sequence[int | None] | None, most: int
) -> tuple[list[list[int]], list[int]]:
    """What follows each prompt, thoughts and the answer's first tokens, and how many positions at its end are read.

    A row without a visible answer ends with the last template token, which is read instead.
    """
    tails, counts = [], []
    for answer, start in zip(answers, starts or [0] * len(answers), strict=True):
        tail = [] if start is None else list(answer.tokens[: start + most])
        tails.append(tail)
        counts.append(max(len(tail) - (start or 0), 1))
    return tails, counts


@torch.inference_mode()
def _read_batch(
    chat: ChatModel, anatomy: Anatomy, batch: Batch, counts: Sequence[int]
) -> Float[Tensor, "rows layer d_model"]:
    """Mean over the last `counts` positions of each row."""
    out = torch.empty(len(batch.index), anatomy.n_layers, anatomy.d_model)
    most, number = max(counts), torch.tensor(counts)[:, None]
    read_here = torch.arange(most).expand(len(counts), most) >= most - number

    def read(layer: int, output: Any) -> None:
        first = output[0] if isinstance(output, tuple | list) else output
        hidden = _one_stream(first, anatomy, batch)[:, -most:].float()
        kept = hidden.masked_fill(~read_here.to(hidden.device)[..., None], 0.0).sum(1).cpu()
        out[:, layer] = kept / number

    handles = []
    try:
        for layer in range(anatomy.n_layers):
            handles.append(anatomy.block(chat.model, layer).register_forward_hook(_hook(read, layer)))
        # The decoder alone: the unembedding would cost rows x tokens x vocabulary for nothing.
        call(chat.model.get_submodule(anatomy.decoder), batch.ids, batch.mask)
    finally:
        for handle in handles:
            handle.remove()
    return out


def _hook(read: Any, layer: int) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        read(layer, output)

    return hook


def _one_stream(hidden: Tensor, anatomy: Anatomy, batch: Batch) -> Float[Tensor, "rows tokens d_model"]:
    """The residual stream; the mean of the streams where an architecture keeps several in parallel.

    They lie first (AltUp), before d_model (hyper-connections), or side by side along it.
    """
    if anatomy.streams == 1:
        return hidden
    beside = hidden.ndim == 3
    streams: Tensor = hidden.unflatten(-1, (anatomy.streams, anatomy.d_model)) if beside else hidden
    lie_first = not beside and streams.shape[1:3] == batch.ids.shape
    return streams.mean(0 if lie_first else 2)


def _check_finite(values: Tensor, chat: ChatModel) -> None:
    bad = ~torch.isfinite(values).all(-1)
    if bad.any():
        layer = int(bad.any(0).nonzero()[0])
        raise ProbeError(
            f"activations are not finite from layer {layer} on ({int(bad.any(1).sum())} of {len(values)} prompts, "
            f"weights in {str(chat.dtype).removeprefix('torch.')})",
            hint="fp16 overflows in many models: use --dtype bfloat16 (or float32).",
        )
