"""Where a decoder's residual stream is written: its writers, the norms behind them, and what no edit reaches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from saber.config import WriterKind
from saber.errors import AnatomyError
from saber.model.discovery import Gain, Leak
from saber.model.discovery import effective_gain as gain_product
from saber.model.discovery.found import Form

TIGHT = 1e-6
"""Largest `|h d| / |h|` of a twin in float32 whose writers were all found: rounding of a few layers."""


@dataclass(frozen=True)
class DiskTensor:
    """What holds a writer on disk.

    Attributes:
        key: Name of the tensor; `{expert}` stands for the index where each expert has a tensor of its own.
        axis: Axis of that tensor along d_model.
    """

    key: str
    axis: int

    @property
    def per_expert(self) -> bool:
        """Whether each expert is a tensor of its own."""
        return "{expert}" in self.key


@dataclass(frozen=True)
class Writer:
    """A parameter whose output is added to the residual stream.

    Attributes:
        name: Runtime parameter name.
        module: Name of the module that owns it.
        layer: 0-based block index; None for what writes the stream's first value (embeddings).
        kind: What the writer belongs to: a label to choose by, read off its name.
        form: How it writes: a matrix, fused experts (3-D), a bias, one bias for each expert, a lookup table.
        axis: Axis of the parameter along d_model.
        shape: Shape of the parameter.
        gains: Norms between the raw output and the residual add, in order.
        centred: A mean-subtracting LayerNorm is among them.
        disk: What holds it in a checkpoint; None where the twin could not tell.
    """

    name: str
    module: str
    layer: int | None
    kind: WriterKind
    form: Form
    axis: int
    shape: tuple[int, ...]
    gains: tuple[Gain, ...] = ()
    centred: bool = False
    disk: DiskTensor | None = None

    @property
    def norms(self) -> tuple[str, ...]:
        """Names of the norms behind the writer, in order."""
        return tuple(gain.parameter.rpartition(".")[0] for gain in self.gains)

    @property
    def n_experts(self) -> int | None:
        """Number of experts that the parameter holds; None if it is not fused."""
        return self.shape[0] if self.form in ("experts", "expert_bias") else None


@dataclass(frozen=True)
class CoverageRow:
    """One line of the coverage table: a parameter that writes to the stream, and what happens to it.

    Attributes:
        name: Runtime parameter name.
        layer: Block, or None.
        kind: Kind of writer, or `?`.
        shape: Shape of the parameter.
        axis: Axis along d_model; None where it is not known.
        gain: Norms behind the writer with their convention, such as `1 + post_attention_layernorm`; empty if none.
        disk: Name on disk; empty where it is not known.
        status: What an edit does with it.
        reason: Why it is not edited.
    """

    name: str
    layer: int | None
    kind: str
    shape: tuple[int, ...]
    axis: int | None
    gain: str
    disk: str
    status: Literal["edited", "skipped", "unknown"]
    reason: str


@dataclass(frozen=True)
class Anatomy:
    """Where a decoder's residual stream is written.

    Attributes:
        family: `model_type` of the text config.
        d_model: Width of the residual stream.
        n_layers: Number of blocks.
        streams: Parallel residual streams: 1, or more where the architecture keeps several.
        layers: Name of the module list that holds the blocks.
        decoder: Name of the module that runs the blocks.
        writers: Every writer: those of the stream's first value, then those of the blocks in order.
        unknown: Parameters of the real model that discovery did not account for.
        leak: What is left of a direction in the twin's stream after it left every writer.
        intrinsic: Why this architecture leaks by design; empty if it does not.
        tied_embedding: Name of the input embedding that is the unembedding too; empty where they are two.
        others: Inputs to the stream that a text pass does not show, such as embedders of image tokens.
    """

    family: str
    d_model: int
    n_layers: int
    streams: int
    layers: str
    decoder: str
    writers: tuple[Writer, ...]
    unknown: tuple[CoverageRow, ...]
    leak: Leak
    intrinsic: str = ""
    tied_embedding: str = ""
    others: tuple[CoverageRow, ...] = field(default=())

    @property
    def tied(self) -> bool:
        """Whether the input embedding is also the unembedding."""
        return bool(self.tied_embedding)

    def of(self, layer: int | None, kinds: Collection[str] | None = None) -> tuple[Writer, ...]:
        """Writers of one block (None: of the stream's first value), of the given kinds."""
        return tuple(w for w in self.writers if w.layer == layer and (kinds is None or w.kind in kinds))

    def block(self, model: nn.Module, layer: int) -> nn.Module:
        """The module of one block."""
        return model.get_submodule(f"{self.layers}.{layer}")

    def named(self) -> Mapping[str, Writer]:
        """Writers by name."""
        return {writer.name: writer for writer in self.writers}


def require_understood(anatomy: Anatomy, *, strict: bool = False) -> None:
    """Refuse a model that something unknown writes to; with `strict` also one that leaks by design.

    Raises:
        AnatomyError: See above, with the leak that was measured.
    """
    hint = "Run `saber coverage MODEL` for the whole table; nothing is edited while a writer may be missing."
    if anatomy.unknown:
        listed = ", ".join(f"{row.name} {row.shape}" for row in anatomy.unknown[:4])
        raise AnatomyError(
            f"{len(anatomy.unknown)} parameters of {anatomy.family} are not understood: {listed}", hint=hint
        )
    if anatomy.leak.worst <= TIGHT:
        return
    found = f"{anatomy.leak.worst:.1e} of the stream at the {anatomy.leak.where}"
    if not anatomy.intrinsic:
        raise AnatomyError(
            f"something unknown writes to the residual stream of {anatomy.family}: after a direction left every "
            f"writer that was found, {found} still lies along it",
            hint=hint,
        )
    if strict:
        raise AnatomyError(
            f"{anatomy.family} leaks by design: {anatomy.intrinsic} ({found})",
            hint="Leave out --strict to edit it all the same; the report then states the leak.",
        )


def effective_gain(model: nn.Module, writer: Writer) -> Float[Tensor, " d_model"] | None:
    """Product of the effective gains of the norms behind a writer, fp32 on the CPU; None without a post-norm.

    Two norms in series act as the product of their gains (METHOD section 0.2).
    """
    return gain_product(model, writer.gains)


def residual_first(weight: Tensor, writer: Writer) -> Float[Tensor, "*experts d_model d_in"]:
    """View of a writer's parameter with d_model second to last; a bias has one column."""
    if writer.form in ("bias", "expert_bias"):
        return weight[..., None]
    return weight if writer.axis == len(writer.shape) - 2 else weight.transpose(-1, -2)


def own_layout(view: Float[Tensor, "*experts d_model d_in"], writer: Writer) -> Tensor:
    """Inverse of `residual_first`: the parameter as it lies in the model, contiguous."""
    if writer.form in ("bias", "expert_bias"):
        return view[..., 0].contiguous()
    return view if writer.axis == len(writer.shape) - 2 else view.transpose(-1, -2).contiguous()


def coverage(anatomy: Anatomy, kinds: Collection[str]) -> Iterator[CoverageRow]:
    """Every residual writer with its status under the given kinds, then the rest."""
    for writer in anatomy.writers:
        chosen = writer.kind in kinds
        yield CoverageRow(
            writer.name,
            writer.layer,
            writer.kind,
            writer.shape,
            writer.axis,
            gain_text(writer),
            writer.disk.key if writer.disk else "",
            "edited" if chosen else "skipped",
            "" if chosen else _why_skipped(anatomy, writer),
        )
    yield from anatomy.others
    yield from anatomy.unknown


def gain_text(writer: Writer) -> str:
    """Effective gain behind a writer in words, such as `1 + post_attention_layernorm`."""
    prefix = f"{writer.module.rpartition('.')[0]}."
    parts = []
    for gain in writer.gains:
        module = gain.parameter.rpartition(".")[0]
        short = module.removeprefix(prefix).rpartition(".")[2] if writer.layer is not None else module
        parts.append(f"(1 + {short})" if gain.offset else short)
    text = " x ".join(parts)
    return f"{text} (LayerNorm)" if writer.centred else text


def _why_skipped(anatomy: Anatomy, writer: Writer) -> str:
    if writer.kind == "embedding":
        tied = writer.name == anatomy.tied_embedding
        also = "; it is the unembedding too, which would stay as it is" if tied else ""
        return f"embeddings are edited on request only{also}"
    return f"ablation.writers leaves out {writer.kind!r}"
