"""How refusal and drift answer to the strengths of units: derivatives through the frozen model (METHOD section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saber.ablation.units import Knob, UnitBank, hookable, strengthened
from saber.evaluation.tokens import RefusalTokens, refusal_log_odds
from saber.model.anatomy import Anatomy
from saber.model.forward import call
from saber.model.generate import Batch, Progress, answer_logits, batches
from saber.model.load import ChatModel

_ROWS = 16
"""Most prompts in one backward pass: the graph of every block is held until it ends."""


@dataclass(frozen=True, eq=False)
class Slopes:
    """Values and their derivatives by strength, prompt by prompt.

    Attributes:
        values: What was differentiated, for each prompt.
        slopes: Its derivatives with respect to every strength.
    """

    values: Float[Tensor, " prompts"]
    slopes: Float[Tensor, "prompts n"]


class Differentiable:
    """A model with a bank of units on it, differentiated by their strengths; each row of a batch has its own."""

    def __init__(self, chat: ChatModel, anatomy: Anatomy, bank: UnitBank) -> None:
        rows = 1 if hookable(chat.model, anatomy, bank) else min(chat.batch_size, _ROWS)
        self._chat = replace(chat, batch_size=rows)
        self._bank = bank

    def log_odds(
        self,
        prompts: Sequence[str],
        thoughts: Sequence[tuple[int, ...]],
        tokens: RefusalTokens,
        *,
        at: Float[Tensor, " n"] | None = None,
        progress: Progress | None = None,
    ) -> Slopes:
        """Refusal log-odds at the first visible token, nats, with their derivatives at strengths `at` (default 0)."""
        values = torch.zeros(len(prompts))
        slopes = torch.zeros(len(prompts), self._bank.n)
        for batch, alpha, logits in self._passes(prompts, thoughts, at, lambda batch: 1, progress):
            odds = refusal_log_odds(logits[:, -1], tokens)
            (slope,) = torch.autograd.grad(odds.sum(), alpha)
            values[batch.index], slopes[batch.index] = odds.detach().cpu(), slope.cpu()
        return Slopes(values, slopes)

    def scores(
        self,
        prompts: Sequence[str],
        answers: Sequence[tuple[int, ...]],
        *,
        samples: int,
        seed: int,
        first_token: bool = False,
        progress: Progress | None = None,
    ) -> Float[Tensor, "draws n"]:
        """Vectors whose second moment is the base's Fisher matrix in the strengths.

        With `J` the derivatives of the logits at a position by the strengths and `p` the base's chances there, the
        Fisher matrix is `J^T (diag(p) - p p^T) J`, and `mean KL per token = alpha^T F alpha / 2` for small alpha. The
        usual draw, `J^T (e_y - p)` with a token `y` from `p`, has heavy tails: one rare token can make up half of a sum
        over 560 draws. Here a draw is `J^T (sqrt(p) * e - p (sqrt(p) . e))` with `e` of +-1, which has the same second
        moment without them. Signs at different positions are independent, so an answer costs one backward pass a draw.

        Args:
            prompts: User messages.
            answers: The base's own answers; logits at their positions are used, not the tokens.
            samples: Draws for each answer, one backward pass each.
            seed: Seed of the draws.
            first_token: Look at the first position only.
            progress: Called with (prompts done, prompts in all).
        """
        generator = torch.Generator().manual_seed(seed)
        found = torch.zeros(samples, len(prompts), self._bank.n)

        def wanted(batch: Batch) -> int:
            return int(batch.answer_mask.sum(-1).max()) + 1

        for batch, alpha, logits in self._passes(prompts, answers, None, wanted, progress):
            kept, rows = _answer_positions(logits, batch, first_token)
            finite = kept.float().masked_fill(kept.isneginf(), 0.0)
            p = kept.detach().float().softmax(-1)
            counts = torch.bincount(rows, minlength=len(batch.index)).to(p)
            scale = counts[rows].rsqrt()[:, None]
            for draw in range(samples):
                signs = torch.randint(2, p.shape, generator=generator).to(p) * 2 - 1
                spread = p.sqrt() * signs
                v = scale * (spread - p * spread.sum(-1, keepdim=True))
                total = (finite * v).sum()
                (slope,) = torch.autograd.grad(total, alpha, retain_graph=draw + 1 < samples)
                found[draw, batch.index] = slope.cpu()
        return found.flatten(0, 1)

    def _passes(
        self,
        prompts: Sequence[str],
        tails: Sequence[tuple[int, ...]],
        at: Tensor | None,
        keep: Callable[[Batch], int],
        progress: Progress | None,
    ) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        start = torch.zeros(self._bank.n) if at is None else at.float()
        done = 0
        with _frozen(self._chat.model), strengthened(self._chat.model, self._bank) as knob:
            for batch in batches(self._chat, prompts, tails):
                alpha = start.repeat(len(batch.index), 1).requires_grad_()
                with torch.enable_grad():
                    yield batch, alpha, _logits(self._chat, knob, alpha, batch, keep(batch))
                done += len(batch.index)
                if progress:
                    progress(done, len(prompts))


def _logits(chat: ChatModel, knob: Knob, alpha: Tensor, batch: Batch, keep: int) -> Tensor:
    knob.set(alpha)
    logits: Tensor = call(chat.model, batch.ids, batch.mask, keep=keep).logits[:, -keep:]
    return logits


def _answer_positions(logits: Tensor, batch: Batch, first_token: bool) -> tuple[Tensor, Tensor]:
    """Logits that predict answer tokens, and the row of each."""
    width = logits.shape[1]
    ids, mask, answers = (t[:, -width:].to(logits.device) for t in (batch.ids, batch.mask, batch.answer_mask))
    if first_token:
        answers = answers * (answers.cumsum(-1) == 1)
    kept, _, rows = answer_logits(logits, Batch(batch.index, ids, mask, answers))
    return kept, rows


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No gradient with respect to any weight is kept while the context is open."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag)
