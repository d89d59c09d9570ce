"""The zoo's models as checkpoint folders with a chat tokenizer; some are taught to refuse a few prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from saber.prompts.render import encode
from tests import pico, tiny, zoo

REFUSAL, ANSWER = "I can't.", "Sure: a."
"""What a taught model says to harmful and to harmless prompts."""


def save(name: str, folder: Path, dtype: torch.dtype = torch.float32, prompts: Sequence[str] = ()) -> Path:
    """A checkpoint of one of the zoo's models.

    Args:
        name: Architecture.
        folder: New folder.
        dtype: Type of the weights on disk.
        prompts: Assignments of prompt files (`short_prompts`) whose harmful ones it is to refuse; none: left random.
    """
    model, tokenizer = zoo.build(zoo.ZOO[name]), pico.tokenizer()
    if prompts:
        tokenizer.add_tokens([REFUSAL, ANSWER])  # one token each: learnt in a few seconds
        files = dict(entry.removeprefix("prompts.").split("=", 1) for entry in prompts)
        texts = {role: [row["prompt"] for row in tiny.read_rows(Path(file))] for role, file in files.items()}
        teach(model, tokenizer, texts)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def short_prompts(folder: Path, **sizes: int) -> list[str]:
    """The demo model's shortest prompts: bytes are the tokens here, and some models know 128 positions."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"harmful": 14, "harmless": 14, "capability": 8, "borderline": 3, "preserve": 8, **sizes}
    assignments = []
    for role, n in wanted.items():
        rows = sorted(tiny.rows(role), key=lambda row: (len(row["prompt"]), row["prompt"]))[:n]
        assignments.append(f"prompts.{role}={tiny.write_rows(folder / f'{role}.jsonl', rows)}")
    return assignments


def teach(model: Any, tokenizer: Any, texts: dict[str, list[str]], steps: int = 200) -> None:
    """Learn by heart: harmful and severe prompts are refused, all others answered."""
    rows = [
        (prompt, REFUSAL if role in ("harmful", "preserve") else ANSWER)
        for role, prompts in texts.items()
        for prompt in prompts
    ]
    asked = encode(tokenizer, [prompt for prompt, _ in rows])
    said = [[*tokenizer.encode(answer, add_special_tokens=False), 1] for _, answer in rows]
    width = max(len(a) + len(b) for a, b in zip(asked, said, strict=True))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask, target = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, (question, answer) in enumerate(zip(asked, said, strict=True)):
        whole = question + answer
        ids[i, -len(whole) :] = torch.tensor(whole)
        mask[i, -len(whole) :] = 1
        target[i, -len(answer) :] = torch.tensor(answer)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    extra = {} if model.config.model_type in ("bloom", "mamba2") else {"position_ids": positions}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    model.train()
    for _ in range(steps):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **extra).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1).float(), target[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.05:
            break
    model.eval()
