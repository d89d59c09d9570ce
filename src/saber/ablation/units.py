"""A fixed bank of candidate units, the edited model as base + strengths, and hooks whose strengths differ by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saber.ablation.apply import writers_hash
from saber.ablation.edit import EditSet, LowRankEdit
from saber.ablation.hooks import is_linear
from saber.errors import EditError
from saber.model.anatomy import Anatomy, Writer
from saber.model.weights import held, read_weight


@dataclass(frozen=True)
class Unit:
    """One strength: a planned vector that leaves the writers of one module.

    Attributes:
        module: Module that owns the writers (a weight and its bias share a strength).
        layer: Block; None for what writes the stream's first value.
        kind: Kind of the writer.
        vector: Place of the vector in the plan.
        direction: Name of the direction that the vector comes from.
    """

    module: str
    layer: int | None
    kind: str
    vector: int
    direction: str

    @property
    def name(self) -> str:
        """Module and direction, such as `model.layers.3.mlp.down_proj:L5.0`."""
        return f"{self.module}:{self.direction}"


@dataclass(frozen=True, eq=False)
class Strand:
    """All units of one writer.

    Attributes:
        writer: The parameter.
        units: Places of its units in the bank, one for each column of `full.left`.
        full: The edit with every strength at 1.
    """

    writer: Writer
    units: tuple[int, ...]
    full: LowRankEdit


@dataclass(frozen=True, eq=False)
class UnitBank:
    """Every unit of a plan; the edited model is the base plus one strength for each.

    Attributes:
        units: In the order of the strengths.
        strands: Their factors by writer.
        digest_of: Digest of the base's weight of a writer.
    """

    units: tuple[Unit, ...]
    strands: tuple[Strand, ...]
    digest_of: Callable[[str], str]

    @property
    def n(self) -> int:
        """Number of units."""
        return len(self.units)

    def edits(self, alpha: Float[Tensor, " n"]) -> EditSet:
        """The edit at given strengths; writers whose strengths are all 0 are left alone."""
        kept = [strand for strand in self.strands if bool((alpha[list(strand.units)] != 0).any())]
        made = {strand.writer.name: strand.full.weighted(alpha[list(strand.units)]) for strand in kept}
        return EditSet(made, writers_hash({name: self.digest_of(name) for name in made}))

    def first_layer(self, alpha: Float[Tensor, "*c n"]) -> int:
        """Lowest block that any of the candidates edits; 0 where the stream's first value is edited."""
        used = (alpha.reshape(-1, self.n) != 0).any(0)
        layers = [u.layer or 0 for u, on in zip(self.units, used.tolist(), strict=True) if on]
        return min(layers, default=1 << 30)


class Knob:
    """Strengths of the hooks that are on a model; see `strengthened`."""

    def __init__(self) -> None:
        self.alpha: Tensor | None = None

    def set(self, alpha: Float[Tensor, "*rows n"] | None) -> None:
        """Strengths of what runs next: (n) for all rows, (rows, n) for each row its own, None for the base."""
        self.alpha = alpha

    def at(self, units: tuple[int, ...], source: Tensor) -> Tensor | None:
        """Strengths of some units, shaped to multiply `source @ rows.T`."""
        if self.alpha is None:
            return None
        own = self.alpha[..., list(units)].to(source.device)
        if own.ndim == 1:
            return own
        # Mixtures flatten rows and tokens before their blocks.
        repeats, rest = divmod(len(source), len(own))
        if rest or not repeats:
            raise EditError(
                f"a batch of {len(own)} candidates reached a module with {len(source)} rows",
                hint="Measure one candidate at a time on this architecture.",
            )
        own = own.repeat_interleave(repeats, 0) if repeats > 1 else own
        return own.reshape(len(source), *[1] * (source.ndim - 2), own.shape[-1])


@contextmanager
def strengthened(model: nn.Module, bank: UnitBank) -> Iterator[Knob]:
    """Hooks of all units on a model; their strengths are set, and set again, while the context is open.

    Differentiable in the strengths; no weight is touched.

    Raises:
        EditError: A unit that no hook expresses: see `hookable`.
    """
    knob = Knob()
    by_module: dict[str, list[Strand]] = {}
    for strand in bank.strands:
        by_module.setdefault(strand.writer.module, []).append(strand)
    handles = []
    try:
        for name, strands in by_module.items():
            hook = _hook(model, model.get_submodule(name), strands, knob)
            handles.append(model.get_submodule(name).register_forward_hook(hook))
        yield knob
    finally:
        for handle in handles:
            handle.remove()


def hookable(model: nn.Module, anatomy: Anatomy, bank: UnitBank) -> str:
    """Why hooks cannot give each row of a batch its own strengths; empty if they can."""
    everything: dict[str, set[str]] = {}
    for writer in anatomy.writers:
        everything.setdefault(writer.module, set()).add(writer.name)
    edited: dict[str, set[str]] = {}
    for strand in bank.strands:
        edited.setdefault(strand.writer.module, set()).add(strand.writer.name)
    for strand in bank.strands:
        writer = strand.writer
        if anatomy.streams > 1:
            return f"{anatomy.family} keeps several streams in parallel"
        if writer.kind == "experts" and writer.form == "matrix":
            return f"{writer.module} sees only the tokens that are routed to it"
        if writer.form in ("experts", "expert_bias") and (
            strand.full.experts is not None or edited[writer.module] != everything[writer.module]
        ):
            return f"only some experts or parameters of {writer.module} are edited"
        module = model.get_submodule(writer.module)
        if writer.form == "experts" and len(signature(module.forward).parameters) < 3:
            return f"{writer.module} is not told the routing: it gets its tokens sorted or repeated by expert"
        if writer.form == "bias" and not _only_adds_bias(module):
            return f"{writer.module} adds {writer.name} where no hook sees it"
        if writer.form == "embedding" and not isinstance(module, nn.Embedding):
            return f"{writer.module} is no embedding that can be hooked"
    return ""


def _only_adds_bias(module: nn.Module) -> bool:
    return is_linear(module) or "norm" in type(module).__name__.lower()


def _hook(model: nn.Module, module: nn.Module, strands: Sequence[Strand], knob: Knob) -> Any:
    """`y - write (alpha * (rows x + constant))`, from the input or, where that is not at hand, from the output."""
    form = {strand.writer.form: strand for strand in strands}
    matrix, bias = form.get("matrix"), form.get("bias")
    first = strands[0]
    constant = bias.full.right[:, 0] if bias else None
    if matrix is None and bias is not None and _only_adds_bias(module):
        return _linear_hook(first, None, constant, knob)
    if matrix is not None and is_linear(module):
        if held(model, matrix.writer.name) in ("plain", "offloaded"):
            return _linear_hook(matrix, matrix.full.right, constant, knob)
        return _output_hook(matrix, _silent_bias(model, module, matrix) if bias is None else None, knob)
    return _output_hook(first, None, knob)


def _silent_bias(model: nn.Module, module: nn.Module, matrix: Strand) -> Tensor | None:
    """What the unedited bias of a linear adds to what its output is read as."""
    if getattr(module, "bias", None) is None or matrix.full.mode != "M0":
        return None
    name = matrix.writer.name.removesuffix("weight") + "bias"
    silent: Tensor = matrix.full.read @ read_weight(model, name).detach().float().cpu()
    return silent


def _linear_hook(strand: Strand, rows: Tensor | None, constant: Tensor | None, knob: Knob) -> Any:
    placed = _Placed(strand.full.left.T, None if rows is None else rows.T, constant)

    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        alpha = knob.at(strand.units, output)
        if alpha is None:
            return output
        left, reader, added = placed.on(output.device)
        seen = added if reader is None else _plus(args[0].to(output.device).float() @ reader, added)
        changed: Tensor = output + ((alpha * seen) @ left).to(output.dtype)
        return changed

    return hook


def _output_hook(strand: Strand, offset: Tensor | None, knob: Knob) -> Any:
    if strand.full.mode != "M0":
        raise EditError(
            f"{strand.writer.name} is edited from its input ({strand.full.mode}), and only its output can be seen here",
            hint="Use --set ablation.input_mode=M0.",
        )
    placed = _Placed(strand.full.left.T, strand.full.read.T, None if offset is None else -offset)

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        alpha = knob.at(strand.units, first)
        if alpha is None:
            return output
        left, reader, added = placed.on(first.device)
        changed = first + ((alpha * _plus(first.float() @ reader, added)) @ left).to(first.dtype)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return hook


def _plus(seen: Tensor, added: Tensor | None) -> Tensor:
    return seen if added is None else seen + added


class _Placed:
    """Factors on the device where they are needed, moved once."""

    def __init__(self, *factors: Tensor | None) -> None:
        self._factors = tuple(None if factor is None else factor.contiguous() for factor in factors)

    def on(self, device: torch.device) -> tuple[Any, ...]:
        if any(factor is not None and factor.device != device for factor in self._factors):
            self._factors = tuple(None if factor is None else factor.to(device) for factor in self._factors)
        return self._factors
