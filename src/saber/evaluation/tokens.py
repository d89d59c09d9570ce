"""First-token refusal log-odds, with a token set derived from the base model's own answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saber.errors import ProbeError
from saber.evaluation.refusal import AnswerClass
from saber.model.generate import Answer, batches, first_logits
from saber.model.load import ChatModel

LOG_ODDS_LIMIT = 50.0
"""Log-odds are clamped to this many nats: beyond it (a side whose logits are all -inf) a mean would be
infinite."""

_SMOOTHING = 0.5


@dataclass(frozen=True)
class RefusalTokens:
    """First tokens that tell refusals from answers.

    Attributes:
        refusal: Ids that open refusals more often than answers, the most telling first.
        compliance: Ids that open answers more often than refusals, the most telling first.
    """

    refusal: tuple[int, ...]
    compliance: tuple[int, ...]


def refusal_tokens(
    answers: Sequence[Answer],
    classes: Sequence[AnswerClass],
    *,
    most: int,
    starts: Sequence[int | None] | None = None,
) -> RefusalTokens:
    """Derive the tokens from answers and their classes.

    A token's score is the smoothed log-ratio of its frequencies as first visible token,
    `log((r + 1/2) / (R + V/2)) - log((a + 1/2) / (A + V/2))`, with `r` of `R` refused and `a` of `A` answered
    answers and `V` distinct first tokens. Positive scores are refusal tokens, negative ones compliance
    tokens.

    Args:
        answers: The base model's answers.
        classes: Their classes; only `refused` and `answered` count.
        most: Most tokens a side.
        starts: Index of the first visible token of each answer (None: nothing visible); 0 for all when left
            out.

    Raises:
        ProbeError: No refused or no answered answer, or no token that is more frequent in refusals.
    """
    places = [0] * len(answers) if starts is None else starts
    firsts: Mapping[str, Counter[int]] = {"refused": Counter(), "answered": Counter()}
    for answer, kind, place in zip(answers, classes, places, strict=True):
        if kind in firsts and place is not None and place < len(answer.tokens):
            firsts[kind][answer.tokens[place]] += 1
    refused, answered = firsts["refused"], firsts["answered"]
    if not refused or not answered:
        raise ProbeError(
            f"of {len(answers)} answers of the base model {refused.total()} are refusals and "
            f"{answered.total()} are answers; both are needed to derive refusal tokens",
            hint="Give harmful prompts that this model refuses and harmless prompts that it answers.",
        )
    vocabulary = sorted(refused.keys() | answered.keys())
    scores = {token: _log_ratio(token, refused, answered, len(vocabulary)) for token in vocabulary}
    ranked = sorted(vocabulary, key=lambda token: (-scores[token], token))
    refusal = tuple(token for token in ranked if scores[token] > 0.0)[:most]
    compliance = tuple(token for token in reversed(ranked) if scores[token] < 0.0)[:most]
    if not refusal:
        raise ProbeError(
            "the base model's refusals and answers start with the same tokens, equally often",
            hint="Give more prompts; some models' refusals cannot be read off the first token.",
        )
    return RefusalTokens(refusal, compliance)


def _log_ratio(token: int, refused: Counter[int], answered: Counter[int], distinct: int) -> float:
    def log_share(counts: Counter[int]) -> float:
        return math.log((counts[token] + _SMOOTHING) / (counts.total() + _SMOOTHING * distinct))

    return log_share(refused) - log_share(answered)


def refusal_log_odds(first: Float[Tensor, "rows vocab"], tokens: RefusalTokens) -> Float[Tensor, " rows"]:
    """`log p(R) - log(1 - p(R))` of the refusal set R, in nats.

    Computed in fp32 as `logsumexp(logits in R) - logsumexp(logits outside R)`, so it neither under- nor
    overflows; logits of -inf count nothing. Clamped to +-`LOG_ODDS_LIMIT`. Differentiable.
    """
    logits = first.float()
    inside = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    inside[list(tokens.refusal)] = True
    odds = logits[:, inside].logsumexp(-1) - logits[:, ~inside].logsumexp(-1)
    return odds.clamp(-LOG_ODDS_LIMIT, LOG_ODDS_LIMIT)


def first_token_log_odds(
    chat: ChatModel,
    prompts: Sequence[str],
    thoughts: Sequence[tuple[int, ...] | None],
    tokens: RefusalTokens,
) -> Float[Tensor, " n"]:
    """Refusal log-odds at the first token of the visible answer; nan where there is none.

    A thinking model's first token is not the answer's: its own `thoughts` (tokens before the visible answer,
    see `Reply.thought`) are put behind the prompt. None means that nothing became visible.
    """
    odds = torch.full((len(prompts),), torch.nan)
    kept = [place for place, thought in enumerate(thoughts) if thought is not None]
    tails = [thoughts[place] or () for place in kept]
    for batch in batches(chat, [prompts[place] for place in kept], tails):
        found = refusal_log_odds(first_logits(chat, batch), tokens).cpu()
        odds[[kept[row] for row in batch.index]] = found
    return odds
