"""Teacher forcing: logits at the positions that predict given answers, one tensor a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from saber.model.forward import call
from saber.model.generate import Batch, answer_logits, batches
from saber.model.load import ChatModel

_LOGIT_BYTES = 1 << 30
"""Most bytes of logits in one forward pass (as fp32): a vocabulary of 262144 fills memory before the model
does."""


def forced_logits(
    chat: ChatModel, prompts: Sequence[str], answers: Sequence[Sequence[int]]
) -> Iterator[tuple[int, Tensor]]:
    """Logits for every token of every answer, in the model's own type.

    Only the positions that predict an answer token are unembedded (`logits_to_keep`), and batches shrink when
    their logits would not fit; neither changes a result.

    Args:
        chat: The model, edited or not.
        prompts: User messages.
        answers: Token ids of each answer, at least one.

    Yields:
        (place, logits of shape answer tokens x vocabulary), in the order of the batches.
    """
    longest = max((len(answer) for answer in answers), default=0)
    row_bytes = 4 * (longest + 1) * int(chat.model.config.get_text_config().vocab_size)
    fitting = replace(chat, batch_size=max(1, min(chat.batch_size, _LOGIT_BYTES // row_bytes)))
    for batch in batches(fitting, prompts, answers):
        logits, rows = _forward(chat, batch)
        for row, place in enumerate(batch.index):
            yield place, logits[rows == row]


@torch.inference_mode()
def _forward(chat: ChatModel, batch: Batch) -> tuple[Tensor, Tensor]:
    keep = int(batch.answer_mask.sum(-1).max()) + 1
    out = call(chat.model, batch.ids, batch.mask, keep=keep)
    # A model that is spread over devices puts out its logits on the last of them.
    ids, mask, answers = (
        t[:, -keep:].to(out.logits.device) for t in (batch.ids, batch.mask, batch.answer_mask)
    )
    logits, _, rows = answer_logits(out.logits[:, -keep:], Batch(batch.index, ids, mask, answers))
    return logits, rows
