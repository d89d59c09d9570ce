"""Which prompts may share a batch: what stands beside a prompt has to change nothing that is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from saber.errors import AnatomyError
from saber.model.forward import call, continue_greedily
from saber.model.twin import FAILURES, build_twin, twin_inputs

_TOLERANCE = 1e-3
"""Largest change of the logits by padding, in units of their spread. Rounding in fp32 makes up to 5e-5 (104
architectures, random weights), padding that is read as text 0.07 and more."""

_PADDING = 7
"""Pad tokens of the test: odd, so that no chunk and no window happens to end with them."""

_STEPS = 4
"""Generated tokens of the test: some caches forget what was padding (MiniMax)."""

Company = Literal["any", "equal", "none"]
"""Prompts of any length, of the same length only, or no other prompt."""

_models: WeakKeyDictionary[nn.Module, Company] = WeakKeyDictionary()
_configs: dict[tuple[type, str], Company] = {}


def company(model: Any) -> Company:
    """What may share a batch with a prompt; tested once for each class and config, in a second or two.

    Recurrent models without a masked state (RWKV, RecurrentGemma, xLSTM) read padding as text, and no signature tells;
    RWKV's cache even mixes up the rows. The test runs on the model's tiny twin: what the code does is the same for all
    weights, half precision would hide a small leak in its rounding, and no hook that is on the model sees the test. A
    class that has no twin is batched by equal lengths.
    """
    if model not in _models:
        _models[model] = _recall(model)
    return _models[model]


def _recall(model: Any) -> Company:
    if not hasattr(model.config, "to_json_string"):
        return "any"  # no transformers model: a stand-in in a test
    key = type(model), str(model.config.to_json_string(use_diff=False))
    if key not in _configs:
        _configs[key] = _twin_company(model)
    return _configs[key]


def _twin_company(model: Any) -> Company:
    try:
        twin = build_twin(type(model), model.config)
        ids = twin_inputs(twin)["input_ids"][0].tolist()
        if undisturbed(twin, ids, _PADDING):
            return "any"
        return "equal" if undisturbed(twin, ids, 0) else "none"
    except (AnatomyError, *FAILURES):
        return "equal"


@torch.inference_mode()
def undisturbed(model: Any, ids: Sequence[int], padding: int) -> bool:
    """Whether a row beside another has the logits of the same row alone, and continues like it.

    Args:
        model: A causal language model in fp32, on the CPU.
        ids: A tokenised text.
        padding: How much longer the other row is. It is filled with the text's last token, because the embedding of a
            pad token may be zero.
    """
    row = torch.tensor(list(ids))
    other = row.flip(0).repeat(1 + padding)[: len(row) + padding]
    both = torch.stack([torch.cat([row[-1:].expand(padding), row]), other])
    mask = torch.ones_like(both)
    mask[0, :padding] = 0
    alone = (row[None], torch.ones_like(row[None]))
    single = call(model, *alone).logits[0]
    return _same(single, call(model, both, mask).logits[0, padding:]) and _same(
        _continued(model, *alone), _continued(model, both, mask)
    )


def _continued(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Logits of the first row's next tokens."""
    made = continue_greedily(
        model,
        ids,
        mask,
        max_new_tokens=_STEPS,
        pad=0,
        eos=(),
        output_logits=True,
        return_dict_in_generate=True,
    )
    return torch.stack([step[0] for step in made.logits])


def _same(single: Tensor, beside: Tensor) -> bool:
    """Root mean square difference against the spread, ids at minus infinity left out."""
    steps = min(len(single), len(beside))
    single, beside = single[:steps].float(), beside[:steps].float()
    finite = single.isfinite() & beside.isfinite()
    change = (single - beside)[finite].square().mean().sqrt()
    return bool(change <= _TOLERANCE * single[finite].std())
