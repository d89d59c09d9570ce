"""Discovery of every residual writer of a decoder, by what parameters do and not by what they are called."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from saber.errors import AnatomyError
from saber.model.discovery.blocks import judge_blocks
from saber.model.discovery.chain import Chain, entry, find_chain
from saber.model.discovery.found import Discovery, Found, Gain
from saber.model.discovery.writers import Verdict, judge

ENTRY_PLACES = 12
"""Places at which the stream's first value is tested: soft tokens are written at some places only."""


def discover(model: nn.Module, inputs: Mapping[str, Any], d_model: int, *, seed: int = 0) -> Discovery:
    """Find every parameter that writes to the residual stream of a decoder.

    The blocks are found by data flow. Blocks of each structure are run alone, and the Jacobian of the output decides
    for each parameter (see `diagonal`). Run it on a small fp32 twin whose norms and biases are random: a norm whose
    weight is constant cannot be told from none.

    Args:
        model: A decoder-only language model on the CPU in fp32, in evaluation mode.
        inputs: Keyword arguments of one forward pass, with `input_ids` of shape (batch, sequence).
        d_model: Width of the residual stream.
        seed: Of the sampled coordinates and the random contractions.

    Raises:
        AnatomyError: No chain of blocks, blocks in which a token sees later ones, or blocks of which nothing writes.
    """
    _refuse_encoder_decoders(model)
    chain = find_chain(model, inputs, d_model)
    with _trainable(model):
        outer = _entry_verdicts(model, inputs, chain, seed)
        by_block = judge_blocks(chain, _text_config(model), seed)
    named = _Named(model)
    named.add(outer or (), None, dict(model.named_parameters()))
    for i, block in enumerate(chain.blocks):
        named.add(by_block.get(i, ()), i, dict(block.named_parameters()))
    if not any(by_block.values()):
        raise AnatomyError(
            f"nothing in {chain.layers} ({type(chain.blocks[0]).__name__}) adds to a stream of width {d_model}",
            hint="SABER edits what blocks add to a residual stream; these replace it.",
        )
    not_run = [i for i, calls in enumerate(chain.calls) if not calls]
    untested = [f"{chain.layers}.{i}: these inputs do not run this block" for i in not_run]
    if outer is None:
        untested.append(f"{chain.layers}: its first input has no gradient, so what writes that is not known")
    return Discovery(
        layers=chain.layers,
        decoder=_decoder(model, chain.layers),
        d_model=d_model,
        n_layers=len(chain.blocks),
        streams=chain.entry().shape[0],
        found=tuple(named.found),
        unexplained=(*named.unexplained, *untested),
    )


class _Named:
    """Verdicts under their names in the whole model; a parameter that blocks share is listed once."""

    def __init__(self, model: nn.Module) -> None:
        self.found: list[Found] = []
        self.unexplained: list[str] = []
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}

    def add(self, verdicts: Sequence[Verdict], layer: int | None, parameters: Mapping[str, Tensor]) -> None:
        """Add the verdicts on one block, or on what comes before the blocks (layer None)."""
        for verdict in verdicts:
            name = self._names[id(parameters[verdict.name])]
            if verdict.trouble:
                self.unexplained.append(f"{name}: {verdict.trouble}")
                continue
            gains = tuple(Gain(self._names[id(parameters[gain])], offset) for gain, offset in verdict.gains)
            known = {(writer.name, writer.axis, writer.gains, writer.centred) for writer in self.found}
            if (name, verdict.axis, gains, verdict.centred) not in known:
                self.found.append(
                    Found(name, layer, verdict.axis, verdict.form, gains, verdict.centred, verdict.stream)
                )


def _entry_verdicts(
    model: nn.Module, inputs: Mapping[str, Any], chain: Chain, seed: int
) -> list[Verdict] | None:
    """Verdicts on the parameters outside of the blocks, from the stream's first value; None if it has no gradient."""
    inside = {id(parameter) for block in chain.blocks for parameter in block.parameters()}
    parameters = {
        name: parameter
        for name, parameter in model.named_parameters()
        if id(parameter) not in inside and chain.d_model in parameter.shape
    }
    with entry(model, inputs, chain) as hidden:
        if not hidden.requires_grad:
            return None
        streams = chain.by_stream(hidden)
        n = streams.shape[1]
        places = torch.linspace(0, n - 1, min(n, ENTRY_PLACES)).round().long()
        # One by one: a stream may be made from another by a dense matrix (AltUp), which a mixture would not separate.
        found: dict[str, Verdict] = {}
        for index in range(len(streams)):
            for verdict in judge(streams[index, places], parameters, seed):
                found.setdefault(verdict.name, replace(verdict, stream=index))
        return list(found.values())


@contextmanager
def _trainable(model: nn.Module) -> Iterator[None]:
    """Let every parameter have a gradient for a while."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(parameter.is_floating_point())
        yield
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag)


def _refuse_encoder_decoders(model: nn.Module) -> None:
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise AnatomyError(
            f"{type(model).__name__} is an encoder-decoder: it has two residual streams",
            hint="SABER edits decoder-only language models.",
        )


def _text_config(model: nn.Module) -> Any:
    config: Any = getattr(model, "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _decoder(model: nn.Module, layers: str) -> str:
    """The nearest module around the blocks that can be called with `input_ids`."""
    parts = layers.split(".")[:-1]
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[:end])
        if "input_ids" in inspect.signature(model.get_submodule(name).forward).parameters:
            return name
    return ""
