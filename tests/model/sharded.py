"""One of the processes that torchrun starts: divides models, edits them through hooks, compares with whole ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from saber.ablation.apply import InPlace, applied
from saber.config import ModelConfig
from saber.errors import EditError, ModelError
from saber.model.load import load
from saber.model.placement import rank
from saber.model.weights import held, read_weight, shape_of
from tests.model import by_hand

torch.set_num_threads(1)
WHOLE, DIVIDED = ModelConfig(device="cpu"), ModelConfig(device="cpu", tensor_parallel=True)


def compare(folder: str) -> dict[str, Any]:
    """What a divided model does differently from a whole one."""
    whole, divided = load(folder, WHOLE), load(folder, DIVIDED)
    found: dict[str, Any] = {"notes": divided.notes}
    names = [name for name, _ in whole.model.named_parameters()]
    kinds = {name: held(divided.model, name) for name in names}
    found["sharded"] = sorted(name for name, kind in kinds.items() if kind == "sharded")
    found["read"] = all(
        torch.equal(read_weight(divided.model, name), read_weight(whole.model, name))
        and shape_of(divided.model, name) == shape_of(whole.model, name)
        for name in names
    )
    anatomy = by_hand.anatomy(whole.model)
    edits = by_hand.edits(whole.model, anatomy)
    found["same edit"] = by_hand.edits(divided.model, anatomy).sha256 == edits.sha256
    base = by_hand.logits(whole.model)
    found["base"] = float((by_hand.logits(divided.model) - base).abs().max())
    with applied(divided.model, anatomy, edits):
        hooked = by_hand.logits(divided.model)
        found["answer"] = answer(divided.model)
    try:
        InPlace(divided.model, anatomy, edits)
    except EditError as error:
        found["in place"] = error.message
    InPlace(whole.model, anatomy, edits)
    found["edited"] = float((hooked - by_hand.logits(whole.model)).abs().max())
    found["change"] = float((by_hand.logits(whole.model) - base).abs().max())
    found["same answer"] = found.pop("answer") == answer(whole.model)
    return found


def answer(model: Any) -> list[list[int]]:
    """A few tokens, greedily."""
    made: list[list[int]] = model.generate(by_hand.ids(), max_new_tokens=4, do_sample=False).tolist()
    return made


def refused(folder: str) -> str:
    """Why a model does not divide."""
    try:
        load(folder, DIVIDED)
    except ModelError as error:
        return f"{error.message} | {error.hint}"
    return ""


def main(root: Path) -> None:
    """Compare the models of a folder one by one; process 0 says what was found."""
    for path in sorted(root.iterdir()):
        found: Any = refused(str(path)) if path.name == "1_one_head" else compare(str(path))
        if rank() == 0:
            sys.stdout.write(f"FOUND {json.dumps([path.name.partition('_')[2], found])}\n")
            sys.stdout.flush()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
