from __future__ import annotations

import math

import pytest
import torch

from saber.errors import ProbeError
from saber.evaluation.tokens import (
    LOG_ODDS_LIMIT,
    RefusalTokens,
    first_token_log_odds,
    refusal_log_odds,
    refusal_tokens,
)
from saber.model.generate import Answer
from saber.model.load import ChatModel
from tests.evaluation.scripted import scripted_chat


def answers(*firsts: int) -> list[Answer]:
    return [Answer("", (first, 9), True) for first in firsts]


def test_planted_tokens_are_found() -> None:
    # 10 opens refusals, 20 answers, 30 both equally often.
    found = refusal_tokens(
        answers(10, 10, 10, 30, 20, 20, 20, 30), ["refused"] * 4 + ["answered"] * 4, most=5
    )
    assert found == RefusalTokens((10,), (20,))


def test_more_frequent_tokens_come_first_and_most_cuts() -> None:
    firsts, classes = (10, 11, 11, 12, 12, 12, 20), ["refused"] * 6 + ["answered"]
    assert refusal_tokens(answers(*firsts), classes, most=5).refusal == (12, 11, 10)
    assert refusal_tokens(answers(*firsts), classes, most=2).refusal == (12, 11)


def test_only_clear_answers_count_and_thoughts_are_skipped() -> None:
    given = [*answers(10, 20), Answer("", (7, 7, 10), True), *answers(55, 66)]
    found = refusal_tokens(
        given, ["refused", "answered", "refused", "partial", "degenerate"], most=5, starts=[0, 0, 2, 0, None]
    )
    assert found == RefusalTokens((10,), (20,))


def test_one_class_only_is_an_error() -> None:
    with pytest.raises(ProbeError, match="0 are refusals and 2 are answers"):
        refusal_tokens(answers(1, 2), ["answered", "answered"], most=5)
    with pytest.raises(ProbeError, match="equally often"):
        refusal_tokens(answers(1, 1), ["answered", "refused"], most=5)


def test_log_odds_are_those_of_the_probabilities() -> None:
    logits = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    tokens = RefusalTokens((3, 5, 7), ())
    inside = logits.double().softmax(-1)[:, [3, 5, 7]].sum(-1)
    assert torch.allclose(
        refusal_log_odds(logits, tokens).double(), torch.log(inside / (1 - inside)), atol=1e-5
    )


def test_log_odds_are_stable_where_probabilities_are_not() -> None:
    logits = torch.zeros(3, 10)
    logits[0, 1], logits[1, 1] = 40.0, -40.0
    logits[2] = -torch.inf
    logits[2, 4] = 0.0
    found = refusal_log_odds(logits, RefusalTokens((1,), ()))
    assert found.tolist() == pytest.approx([40 - math.log(9), -40 - math.log(9), -LOG_ODDS_LIMIT], abs=1e-5)
    half = refusal_log_odds(logits[:2].bfloat16(), RefusalTokens((1,), ()))
    assert half.dtype == torch.float32


def test_log_odds_can_be_differentiated() -> None:
    logits = torch.randn(2, 10, requires_grad=True)
    refusal_log_odds(logits, RefusalTokens((1,), ())).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_log_odds_are_read_behind_the_thought() -> None:
    chat = scripted_chat({"one": "<think>x</think>No", "two": "Yes"}, peak=8.0)
    encode = chat.tokenizer.encode
    no, thought = encode("N", add_special_tokens=False), encode("<think>x</think>", add_special_tokens=False)
    tokens = RefusalTokens(tuple(no), ())
    odds = first_token_log_odds(chat, ["one", "two", "one", "two"], [tuple(thought), (), (), None], tokens)
    high, low = 8.0 - math.log(260), -math.log(259 + math.exp(8.0))
    assert odds[:3].tolist() == pytest.approx([high, low, low], abs=1e-4)
    assert odds[3].isnan()


def test_log_odds_do_not_depend_on_the_batch(small: ChatModel) -> None:
    tokens = RefusalTokens((30, 40, 50), ())
    prompts = ["a", "some longer prompt", "the longest prompt of them all", "short"]
    together = first_token_log_odds(small, prompts, [()] * 4, tokens)
    alone = torch.cat([first_token_log_odds(small, [prompt], [()], tokens) for prompt in prompts])
    assert torch.allclose(together, alone, atol=1e-4)
