"""The Jacobian test of whole blocks, each run alone on a large input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saber.errors import AnatomyError
from saber.model.discovery.chain import Chain, copied, tensors
from saber.model.discovery.jacobian import reading
from saber.model.discovery.signature import group_alike
from saber.model.discovery.writers import Verdict, judge, located, with_siblings

SCALE = 1e4
"""Factor on a block's input during the test. Every reader of the stream stands before or behind a norm, so it answers
to one writer's output with O(1/SCALE), while the direct write stays O(1): only the direct path is left. Much larger
factors overflow fp32 in blocks that multiply unnormed activations."""
PLACES = 3
"""Places (tokens) at which a block is tested: enough to see whether its diagonals differ from token to token."""


def judge_blocks(chain: Chain, config: Any, seed: int) -> dict[int, list[Verdict]]:
    """Verdicts on the parameters of every block that ran.

    Of blocks built alike the first and the last are tested; if they agree, the others get the same verdicts, else each
    is tested.

    Args:
        chain: The blocks and what they were given.
        config: The language model's config, or None; its per-layer lists tell blocks apart.
        seed: Of the sampled coordinates and the random contractions.

    Raises:
        AnatomyError: A token sees later ones, or a block hides its gradients.
    """
    verdicts: dict[int, list[Verdict]] = {}
    for alike in group_alike(chain.blocks, chain.calls, config):
        _refuse_encoders(chain, alike[0])
        found = _judge_block(chain, alike[0], seed)
        verdicts.update(dict.fromkeys(alike, found))
        if len(alike) > 1 and _gist(_judge_block(chain, alike[-1], seed)) != _gist(found):
            verdicts.update({i: _judge_block(chain, i, seed) for i in alike})
    return verdicts


def _judge_block(chain: Chain, index: int, seed: int) -> list[Verdict]:
    _, output = _run_alone(chain, index, SCALE)
    parameters = {name: p for name, p in chain.blocks[index].named_parameters() if chain.d_model in p.shape}
    if not parameters:
        return []
    length = chain.batch[1]
    # Far apart, so that contexts and with them activations differ; not the first, which has none.
    streams = output[:, torch.linspace(0, length - 1, PLACES + 1)[1:].round().long()]
    # Random, so that no stream's part is hidden by another's, and of one sign, as the shares of a write are.
    weights = 0.5 + torch.rand(len(streams), generator=torch.Generator().manual_seed(seed))
    mixture = torch.einsum("s,std->td", weights, streams)
    verdicts = with_siblings(judge(mixture, parameters, seed), streams, parameters)
    return located(verdicts, streams, parameters)


def _gist(verdicts: list[Verdict]) -> list[Verdict]:
    """Verdicts without the numbers in their words."""
    return [replace(verdict, trouble="yes" if verdict.trouble else "") for verdict in verdicts]


def _run_alone(
    chain: Chain, index: int, scale: float
) -> tuple[Tensor, Float[Tensor, "streams places d_model"]]:
    """A block on a multiple of the input it was once given: that input, and the output with its graph."""
    call = chain.calls[index][0]
    args, kwargs = list(copied(call.args)), copied(call.kwargs)
    leaf = call.given()[chain.slot].clone().requires_grad_()
    with torch.enable_grad():
        # The product, not the leaf, goes in: some blocks add to their input in place.
        if isinstance(chain.slot, int):
            args[chain.slot] = scale * leaf
        else:
            kwargs[chain.slot] = scale * leaf
        output = tensors(chain.blocks[index](*args, **kwargs))[chain.port]
    if not output.requires_grad:
        raise AnatomyError(
            f"{chain.layers}.{index} ({type(chain.blocks[index]).__name__}) returns its stream without a gradient",
            hint="Discovery needs blocks through which gradients flow; reversible layers hide them.",
        )
    return leaf, chain.by_stream(output)


def _refuse_encoders(chain: Chain, index: int) -> None:
    """Refuse a block in which the middle of the first text depends on what comes after it."""
    # On the input as it was: masks of finite size do not hold against a scaled one.
    leaf, output = _run_alone(chain, index, 1.0)
    middle, end = chain.batch[1] // 2, chain.batch[1]
    (gradient,) = torch.autograd.grad(reading(output[:, middle]), leaf)
    if chain.by_stream(gradient)[:, middle + 1 : end].any():
        raise AnatomyError(
            f"in {chain.layers}.{index} ({type(chain.blocks[index]).__name__}) a token sees later ones",
            hint="SABER edits causal language models; this one encodes whole texts.",
        )
