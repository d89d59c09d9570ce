"""One side of the comparison: everything that is measured on the base, and again on the edited model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saber.evaluation.battery import Nll, by_category, end_token, perplexity, reference_nll, scores
from saber.evaluation.estimate import Estimate, Precision
from saber.evaluation.refusal import CLASSES, AnswerClass
from saber.evaluation.replies import Reply, ask
from saber.evaluation.tokens import RefusalTokens, first_token_log_odds
from saber.model.generate import Progress
from saber.model.load import ChatModel
from saber.prompts import ROLES, Prompt, Role

REFUSAL_ROLES: tuple[Role, ...] = ("harmful", "harmless", "borderline", "preserve")
"""Roles with a refusal rate; the capability battery is scored by its answers."""

Replies = Mapping[Role, tuple[Reply, ...]]


@dataclass(frozen=True)
class Side:
    """What was measured on one model.

    Attributes:
        replies: Answers by role, in the order of the prompts.
        refusal: Share of `refused` by role; a role without prompts has an estimate without a value.
        refusal_by_category: The same by role and category, where prompts name one.
        degenerate: Share of `degenerate` and `empty` over all roles.
        classes: Answers of each class by role.
        capability: Accuracy by category and over `all`.
        perplexity: Of the reference answers, by category and over `all`.
        refusal_log_odds: Mean first-token refusal log-odds of the harmful prompts, nats.
        scores: Right, wrong or unscored for each capability prompt.
    """

    replies: Replies
    refusal: Mapping[str, Estimate]
    refusal_by_category: Mapping[str, Mapping[str, Estimate]]
    degenerate: Estimate
    classes: Mapping[str, Mapping[AnswerClass, int]]
    capability: Mapping[str, Estimate]
    perplexity: Mapping[str, float | None]
    refusal_log_odds: Estimate
    scores: tuple[bool | None, ...]

    def to_json(self) -> dict[str, Any]:
        """The `base` or `edited` object of evaluation.json."""
        return {
            "refusal": _json(self.refusal),
            "refusal_by_category": {role: _json(groups) for role, groups in self.refusal_by_category.items()},
            "degenerate": self.degenerate.to_json(),
            "classes": {role: dict(counts) for role, counts in self.classes.items()},
            "capability": _json(self.capability),
            "perplexity": dict(self.perplexity),
            "refusal_log_odds": self.refusal_log_odds.to_json(),
        }


def _json(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_json() for name, estimate in estimates.items()}


def measure_side(
    chat: ChatModel,
    splits: Mapping[Role, Sequence[Prompt]],
    *,
    tokens: RefusalTokens | None,
    max_new_tokens: int,
    confidence: float = 0.95,
    bootstraps: int = 2000,
    seed: int = 0,
    base: Replies | None = None,
    progress: Progress | None = None,
) -> Side:
    """Generate, classify and score on the model as it is now.

    Called inside an edit's context, it measures the edited model.

    Args:
        chat: The model.
        splits: Prompts by role; roles may be missing.
        tokens: Token set of the log-odds; None leaves them unscored.
        max_new_tokens: Longest answer.
        confidence: Level of all intervals.
        bootstraps: Resamples behind intervals of means.
        seed: Seed of the bootstrap.
        base: The base model's replies to the same prompts, for the edited side: its thoughts and its end
            token are used on both sides, so that both are read at the same place.
        progress: Called with (answers done, answers in all).
    """
    replies = ask_roles(chat, splits, max_new_tokens=max_new_tokens, progress=progress)
    precision = Precision(confidence, bootstraps, seed)
    return summarise(chat, replies, base or replies, tokens, precision)


def ask_roles(
    chat: ChatModel,
    splits: Mapping[Role, Sequence[Prompt]],
    *,
    max_new_tokens: int,
    progress: Progress | None = None,
) -> Replies:
    """Answers of all roles from one pass, so that batches are full and sorted by length."""
    roles = [role for role in ROLES if splits.get(role)]
    flat = [prompt for role in roles for prompt in splits[role]]
    answers = iter(ask(chat, flat, max_new_tokens=max_new_tokens, progress=progress))
    return {role: tuple(next(answers) for _ in splits[role]) for role in roles}


def summarise(
    chat: ChatModel, replies: Replies, base: Replies, tokens: RefusalTokens | None, precision: Precision
) -> Side:
    """Turn replies into rates, and add what is read off logits: log-odds and perplexity."""
    everything = [reply for role in replies for reply in replies[role]]
    battery = replies.get("capability", ())
    tasks = [reply.prompt for reply in battery]
    right = scores(battery)
    groups = by_category(tasks)
    return Side(
        replies=replies,
        refusal={role: precision.rate([r.refused for r in replies.get(role, ())]) for role in REFUSAL_ROLES},
        refusal_by_category=_by_category(replies, precision),
        degenerate=precision.rate([reply.broken for reply in everything]),
        classes={role: _counts(replies[role]) for role in replies},
        capability={name: precision.rate([right[i] for i in places]) for name, places in groups.items()},
        perplexity=perplexity(tasks, _nll(chat, tasks, base)),
        refusal_log_odds=precision.mean(log_odds(chat, base.get("harmful", ()), tokens)),
        scores=tuple(right),
    )


def _by_category(replies: Replies, precision: Precision) -> dict[str, dict[str, Estimate]]:
    found: dict[str, dict[str, Estimate]] = {}
    for role in REFUSAL_ROLES:
        given = replies.get(role, ())
        groups = by_category([reply.prompt for reply in given])
        found[role] = {
            name: precision.rate([given[place].refused for place in places])
            for name, places in groups.items()
            if name != "all"
        }
    return found


def _counts(replies: Sequence[Reply]) -> dict[AnswerClass, int]:
    counts = Counter(reply.kind for reply in replies)
    return {kind: counts[kind] for kind in CLASSES}


def _nll(chat: ChatModel, tasks: Sequence[Prompt], base: Replies) -> list[Nll | None]:
    return reference_nll(chat, tasks, end_token(chat, [reply for role in base for reply in base[role]]))


def log_odds(chat: ChatModel, base: Sequence[Reply], tokens: RefusalTokens | None) -> list[float]:
    """Refusal log-odds of the model as it is now, behind the base's thoughts; nan where unscored."""
    if tokens is None:
        return [float("nan")] * len(base)
    prompts, thoughts = [reply.prompt.text for reply in base], [reply.thought for reply in base]
    values: list[float] = first_token_log_odds(chat, prompts, thoughts, tokens).tolist()
    return values
