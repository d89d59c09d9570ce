"""Greedy held-out rates of a demo checkpoint: refusal by role, exact match by task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from saber.organism.frames import is_refusal
from saber.organism.heldout import Row, prompt_sets

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Rates = dict[str, dict[str, float]]


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load a demo checkpoint; its stored weights are used as they are, computed with in float32."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


@torch.no_grad()
def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    max_new_tokens: int = 48,
    batch_size: int = 128,
) -> list[str]:
    """Return the greedy answer to every prompt."""
    found: list[str] = []
    for start in range(0, len(prompts), batch_size):
        chats = [[{"role": "user", "content": prompt}] for prompt in prompts[start : start + batch_size]]
        inputs = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        new = output[:, inputs["input_ids"].shape[1] :]
        found += [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]
    return found


def held_out_rates(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Rates:
    """Return per role or task the held-out rate with its count and size."""
    rates: Rates = {}
    for role, rows in prompt_sets().items():
        given = answers(model, tokenizer, [row["prompt"] for row in rows])
        if role == "capability":
            for task in dict.fromkeys(row["category"] for row in rows):
                pairs = [(r, a) for r, a in zip(rows, given, strict=True) if r["category"] == task]
                rates[task] = _rate([_exact(row, answer) for row, answer in pairs])
        else:
            rates[role] = _rate([is_refusal(answer) for answer in given])
    return rates


def _exact(row: Row, answer: str) -> bool:
    return answer == row["answer"]


def _rate(outcomes: Sequence[bool]) -> dict[str, float]:
    return {"rate": sum(outcomes) / len(outcomes), "count": sum(outcomes), "n": len(outcomes)}


def table(rates: Rates) -> str:
    """Write the rates as an aligned table."""
    roles = {"harmful", "harmless", "borderline", "preserve"}
    lines = []
    for name, found in rates.items():
        what = "refused" if name in roles else "exact"
        lines.append(f"{name:<12} {what:<8} {found['count']:>4.0f}/{found['n']:<4.0f} {found['rate']:7.1%}")
    return "\n".join(lines)
