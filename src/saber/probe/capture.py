"""Capture block outputs with hooks: only the wanted positions leave the forward pass, nothing else is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saber.errors import ProbeError
from saber.model.anatomy import Anatomy
from saber.model.generate import Answer, Batch, Progress, batches
from saber.model.load import ChatModel
from saber.probe.activations import Activations
from saber.probe.moments import winsorise
from saber.prompts.prompt import Prompt
from saber.prompts.render import template_tail


def capture(
    chat: ChatModel,
    anatomy: Anatomy,
    prompts: Sequence[Prompt],
    *,
    position: str,
    answers: Sequence[Answer] | None = None,
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
            `answer` (mean of the first answer tokens).
        answers: The base model's own answers; needed for `answer`.
        answer_tokens: How many answer tokens `answer` averages.
        winsorise_quantile: Each vector is clipped at this quantile of its |values|.
        progress: Called with (done, total).

    Raises:
        ProbeError: An activation is not finite.
    """
    tokens = [list(a.tokens[:answer_tokens]) for a in answers] if position == "answer" and answers else None
    tail = len(template_tail(chat.tokenizer, chat.system)) if position == "template" else 1
    values = torch.empty(len(prompts), anatomy.n_layers, anatomy.d_model)
    done = 0
    for batch in batches(chat, [prompt.text for prompt in prompts], tokens):
        values[torch.tensor(batch.index)] = _read_batch(
            chat, anatomy, batch, max(tail, 1), tokens is not None
        )
        done += len(batch.index)
        if progress:
            progress(done, len(prompts))
    _check_finite(values, chat)
    flat = winsorise(values.flatten(0, 1), winsorise_quantile)
    return Activations(flat.reshape(values.shape), tuple(prompt.key for prompt in prompts), position)


@torch.inference_mode()
def _read_batch(
    chat: ChatModel, anatomy: Anatomy, batch: Batch, tail: int, read_answer: bool
) -> Float[Tensor, "rows layer d_model"]:
    out = torch.empty(len(batch.index), anatomy.n_layers, anatomy.d_model)
    # Rows with an empty answer fall back to the last template token.
    weight = batch.answer_mask.float()
    weight[weight.sum(1) == 0, -1] = 1.0
    weight /= weight.sum(1, keepdim=True)

    def read(layer: int, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if read_answer:
            kept = torch.einsum("rt,rtd->rd", weight.to(hidden.device), hidden.float())
        else:
            kept = hidden[:, -tail:].float().mean(1)
        out[:, layer] = kept.cpu()

    handles = []
    try:
        for layer in range(anatomy.n_layers):
            handles.append(anatomy.block(chat.model, layer).register_forward_hook(_hook(read, layer)))
        # The decoder alone: the unembedding would cost rows x tokens x vocabulary for nothing.
        chat.model.get_decoder()(
            input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
        )
    finally:
        for handle in handles:
            handle.remove()
    return out


def _hook(read: Any, layer: int) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        read(layer, output)

    return hook


def _check_finite(values: Tensor, chat: ChatModel) -> None:
    bad = ~torch.isfinite(values).all(-1)
    if bad.any():
        layer = int(bad.any(0).nonzero()[0])
        raise ProbeError(
            f"activations are not finite from layer {layer} on ({int(bad.any(1).sum())} of {len(values)} prompts, "
            f"weights in {str(chat.dtype).removeprefix('torch.')})",
            hint="fp16 overflows in many models: use --dtype bfloat16 (or float32).",
        )
