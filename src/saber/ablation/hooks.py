"""Edits as hooks on the writers' raw outputs: no weight is touched, and nothing of its size is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from saber.ablation.edit import LowRankEdit
from saber.errors import EditError
from saber.model.anatomy import Writer
from saber.model.weights import held, read_weight

Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]


def hook_all(
    model: nn.Module, writers: Mapping[str, Writer], edits: Iterable[LowRankEdit]
) -> tuple[list[Any], list[LowRankEdit]]:
    """Hook every edit that a hook expresses exactly.

    - a linear gets `y + left (right x)`, or `y + left (read (y - bias))` where it is quantised or divided;
      in another input-side mode than M0 always the former, for the output does not tell what `right` reads;
    - a bias, the constant `left right`;
    - a lookup table, `y + left (read y)`;
    - a fused expert block likewise, once for weights and biases, which is the same for every expert. So it takes an
      edit of all experts, and of the biases wherever there are any.

    Returns:
        Handles to remove, and the edits that need the weights themselves.

    Raises:
        EditError: An input-side mode on a weight that is divided among processes.
    """
    edits = tuple(edits)
    _require_inputs(model, edits)
    by_module: dict[str, list[LowRankEdit]] = {}
    for edit in edits:
        by_module.setdefault(writers[edit.writer].module, []).append(edit)
    handles, rest = [], []
    for name, group in by_module.items():
        module = model.get_submodule(name)
        form_of = {edit.writer: writers[edit.writer].form for edit in group}
        if {"experts", "expert_bias"} & set(form_of.values()):
            everything = {w.name for w in writers.values() if w.module == name}
            whole = all(edit.experts is None and edit.mode == "M0" for edit in group)
            if whole and everything == {edit.writer for edit in group}:
                handles.append(module.register_forward_hook(_output_hook(group[0])))
            else:
                rest += group
            continue
        # A matrix first: where its edit reads the output, it must not see what the edit of the bias added.
        for edit in sorted(group, key=lambda edit: form_of[edit.writer] == "bias"):
            hook = _hook(model, module, form_of[edit.writer], edit)
            if hook is None:
                rest.append(edit)
            else:
                handles.append(module.register_forward_hook(hook))
    return handles, rest


def _hook(model: nn.Module, module: nn.Module, form: str, edit: LowRankEdit) -> Hook | None:
    if form == "bias":
        adds_it = is_linear(module) or "norm" in type(module).__name__.lower()
        return _constant_hook(edit) if adds_it else None
    if form == "embedding":
        return _output_hook(edit) if isinstance(module, nn.Embedding) and edit.mode == "M0" else None
    if not is_linear(module):
        return None
    if edit.mode != "M0" or held(model, edit.writer) in ("plain", "offloaded"):
        return _input_hook(edit)
    # Divided among processes, each of which sees a part of the input but all of the output; or quantised, where the
    # output is what the kernel makes of the weight.
    named = edit.writer.removesuffix("weight") + "bias"
    return _output_hook(edit, None if getattr(module, "bias", None) is None else read_weight(model, named))


def _require_inputs(model: nn.Module, edits: Iterable[LowRankEdit]) -> None:
    """Refuse an edit that reads an input which no single process has."""
    for edit in edits:
        if edit.mode != "M0" and held(model, edit.writer) == "sharded":
            raise EditError(
                f"{edit.writer} is edited from its input ({edit.mode}), of which each process sees a part",
                hint="Use --set ablation.input_mode=M0, or a single process.",
            )


def is_linear(module: nn.Module) -> bool:
    """Whether a module is `x -> W x + b`."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


class _Placed:
    """Factors of an edit on the device where they are needed, moved once."""

    def __init__(self, *factors: Tensor) -> None:
        self._factors = factors

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        if self._factors[0].device != device:
            self._factors = tuple(factor.to(device) for factor in self._factors)
        return self._factors


def _input_hook(edit: LowRankEdit) -> Hook:
    placed = _Placed(edit.left.T.contiguous(), edit.right.T.contiguous())

    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        left, right = placed.on(output.device)
        added: Tensor = (args[0].to(output.device).float() @ right) @ left
        return output + added.to(output.dtype)

    return hook


def _output_hook(edit: LowRankEdit, bias: Tensor | None = None) -> Hook:
    # read (y - bias) = read y - read bias: nothing of the output's size is made for the bias.
    offset = torch.zeros(len(edit.read)) if bias is None else edit.read @ bias.detach().float().cpu()
    placed = _Placed(edit.left.T.contiguous(), edit.read.T.contiguous(), offset)

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        left, read, constant = placed.on(first.device)
        changed = first + ((first.float() @ read - constant) @ left).to(first.dtype)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return hook


def _constant_hook(edit: LowRankEdit) -> Hook:
    placed = _Placed((edit.left @ edit.right)[:, 0])

    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        (constant,) = placed.on(output.device)
        return output + constant.to(output.dtype)

    return hook
