"""Blocks of a decoder, its residual writers, and the effective gains of the norms behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from saber.config import WriterKind
from saber.errors import AnatomyError
from saber.model.families import FAMILIES, Family, WriterRule


@dataclass(frozen=True)
class Writer:
    """A matrix whose output is added to the residual stream.

    Attributes:
        name: Runtime parameter name.
        module: Name of the module whose raw output, before any post-norm, is `W x`.
        layer: 0-based block index.
        kind: What the writer belongs to.
        axis: Axis of the parameter along d_model (0 for a linear, 1 for (experts, d_model, d_in)).
        shape: Shape of the parameter.
        norms: Names of the post-norm modules behind the writer, in order.
        gain_offset: A norm's effective gain is `gain_offset + weight`.
    """

    name: str
    module: str
    layer: int
    kind: WriterKind
    axis: int
    shape: tuple[int, ...]
    norms: tuple[str, ...]
    gain_offset: float


@dataclass(frozen=True)
class CoverageRow:
    """One line of the coverage table: a parameter that writes to the stream, and what happens to it."""

    name: str
    layer: int | None
    kind: str
    shape: tuple[int, ...]
    norms: tuple[str, ...]
    status: Literal["edited", "skipped", "unknown"]
    reason: str


@dataclass(frozen=True)
class Anatomy:
    """Where a decoder's residual stream is written.

    Attributes:
        family: Key in `FAMILIES`.
        d_model: Width of the residual stream.
        n_layers: Number of blocks.
        layers: Name of the module list that holds the blocks.
        writers: Every understood writer of the blocks.
        other: Writers that no edit touches (embeddings, biases) and parameters that are not understood.
    """

    family: str
    d_model: int
    n_layers: int
    layers: str
    writers: tuple[Writer, ...]
    other: tuple[CoverageRow, ...]

    def of(self, layer: int, kinds: tuple[str, ...] | None = None) -> tuple[Writer, ...]:
        """Writers of one block, of the given kinds."""
        return tuple(w for w in self.writers if w.layer == layer and (kinds is None or w.kind in kinds))

    def block(self, model: nn.Module, layer: int) -> nn.Module:
        """The module of one block."""
        return model.get_submodule(f"{self.layers}.{layer}")


def examine(model: Any, *, strict: bool = True) -> Anatomy:
    """Find every residual writer of a decoder.

    Args:
        model: A transformers causal or multimodal language model.
        strict: Raise on the first thing that is not understood; otherwise list it as unknown.

    Raises:
        AnatomyError: The family is not known, or a block holds a parameter that is neither a known writer nor a
            known reader.
    """
    config = model.config.get_text_config()
    decoder = model.get_decoder()
    blocks = getattr(decoder, "layers", None)
    if not isinstance(blocks, nn.ModuleList) or not len(blocks):
        raise AnatomyError(
            f"no list of decoder blocks found in {type(model).__name__} (decoder {type(decoder).__name__})",
            hint="SABER edits decoder-only chat models; see `saber coverage` for the families it knows.",
        )
    layers = next(name for name, module in model.named_modules() if module is blocks)
    family_name, family = _family(config, blocks)
    writers: list[Writer] = []
    other = list(_stream_inputs(model, blocks))
    for layer, block in enumerate(blocks):
        found, unknown = _examine_block(block, f"{layers}.{layer}", layer, family)
        writers += found
        other += unknown
    unknown_rows = [row for row in other if row.status == "unknown"]
    if strict and unknown_rows:
        listed = ", ".join(f"{row.name} {row.shape}" for row in unknown_rows[:4])
        raise AnatomyError(
            f"{len(unknown_rows)} parameters of {family_name} blocks are not understood: {listed}",
            hint="Run `saber coverage MODEL` for the whole list; nothing is edited while a writer may be missing.",
        )
    return Anatomy(family_name, int(config.hidden_size), len(blocks), layers, tuple(writers), tuple(other))


def effective_gain(model: nn.Module, writer: Writer) -> Float[Tensor, " d_model"] | None:
    """Product of the effective gains of the norms behind a writer, fp32 on the CPU; None without a post-norm.

    Two norms in series act as the product of their gains (METHOD section 0.2).
    """
    if not writer.norms:
        return None
    gain: Tensor | None = None
    for name in writer.norms:
        weight = writer.gain_offset + model.get_parameter(f"{name}.weight").detach().float().cpu()
        gain = weight if gain is None else gain * weight
    return gain


def residual_first(weight: Tensor, axis: int) -> Float[Tensor, "*experts d_model d_in"]:
    """View of a writer's parameter with d_model second to last."""
    return weight if axis == weight.ndim - 2 else weight.transpose(-1, -2)


def coverage(anatomy: Anatomy, kinds: tuple[str, ...]) -> Iterator[CoverageRow]:
    """Every residual writer with its status under the given kinds, then the rest."""
    for writer in anatomy.writers:
        chosen = writer.kind in kinds
        yield CoverageRow(
            writer.name,
            writer.layer,
            writer.kind,
            writer.shape,
            writer.norms,
            "edited" if chosen else "skipped",
            "" if chosen else f"ablation.writers leaves out {writer.kind!r}",
        )
    yield from anatomy.other


def _family(config: Any, blocks: nn.ModuleList) -> tuple[str, Family]:
    name = str(config.model_type)
    if name == "gemma4_text" and any(hasattr(block, "experts") for block in blocks):
        name += "+experts"
    if name not in FAMILIES:
        shown = sorted({n for n, _ in blocks[0].named_parameters()})
        raise AnatomyError(
            f"model family {name!r} ({type(blocks[0]).__name__}) is not understood; its blocks hold {', '.join(shown)}",
            hint=f"Known families: {', '.join(sorted(FAMILIES))}.",
        )
    return name, FAMILIES[name]


def _examine_block(
    block: nn.Module, prefix: str, layer: int, family: Family
) -> tuple[list[Writer], list[CoverageRow]]:
    parameters: dict[str, Tensor] = {**dict(block.named_parameters()), **dict(block.named_buffers())}
    writers, rows = [], []
    claimed: set[str] = set()
    for rule in family.writers:
        name = f"{rule.module}.{rule.parameter}"
        if name not in parameters:
            continue
        claimed.add(name)
        writers.append(_writer(rule, parameters, prefix, layer, family))
        bias = f"{rule.module}.bias"
        if bias in parameters:
            claimed.add(bias)
            shape = tuple(parameters[bias].shape)
            reason = "a bias is not low rank; what it writes stays"
            rows.append(CoverageRow(f"{prefix}.{bias}", layer, "bias", shape, (), "skipped", reason))
    for name, value in parameters.items():
        if name in claimed or name in family.readers:
            continue
        reason = "neither a known writer nor a known reader of this family"
        rows.append(CoverageRow(f"{prefix}.{name}", layer, "?", tuple(value.shape), (), "unknown", reason))
    if not writers:
        raise AnatomyError(
            f"block {prefix} ({type(block).__name__}) has no known residual writer; it holds {', '.join(parameters)}",
            hint="Run `saber coverage MODEL`; this architecture is not supported yet.",
        )
    return writers, rows


def _writer(
    rule: WriterRule, parameters: dict[str, Tensor], prefix: str, layer: int, family: Family
) -> Writer:
    missing = [norm for norm in rule.norms if f"{norm}.weight" not in parameters]
    if missing:
        raise AnatomyError(
            f"{prefix}.{rule.module} should be followed by {', '.join(missing)}, which this block lacks",
            hint="The checkpoint's code differs from the transformers release that SABER knows.",
        )
    return Writer(
        name=f"{prefix}.{rule.module}.{rule.parameter}",
        module=f"{prefix}.{rule.module}",
        layer=layer,
        kind=rule.kind,
        axis=rule.axis,
        shape=tuple(parameters[f"{rule.module}.{rule.parameter}"].shape),
        norms=tuple(f"{prefix}.{norm}" for norm in rule.norms),
        gain_offset=family.gain_offset,
    )


def _stream_inputs(model: Any, blocks: nn.ModuleList) -> Iterator[CoverageRow]:
    """Embeddings and multimodal embedders: they write the stream's first value and are not edited by default."""
    inside = {id(p) for p in blocks.parameters()}
    embedding = model.get_input_embeddings().weight
    tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
    for name, parameter in model.named_parameters():
        if id(parameter) in inside:
            continue
        shape = tuple(parameter.shape)
        if parameter is embedding:
            reason = "embeddings are not edited" + (
                " (tied: the unembedding would change too)" if tied else ""
            )
            yield CoverageRow(name, None, "embedding", shape, (), "skipped", reason)
        elif name.endswith("embedding_projection.weight"):
            yield CoverageRow(
                name, None, "soft tokens", shape, (), "skipped", "multimodal towers stay byte-identical"
            )
