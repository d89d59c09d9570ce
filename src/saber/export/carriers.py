"""How PEFT carries the edit of each writer: which of its layers wraps it, in which orientation, and where it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.functional import pad

from saber.ablation.edit import LowRankEdit
from saber.errors import ExportError
from saber.model.anatomy import Anatomy, Writer

_REFUSED = frozenset({"falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"})
"""Model types whose `out_proj` PEFT takes no adapter for."""
_READ_FROM_OUTSIDE = frozenset({"dbrx"})
"""Model types in which another module reads the experts' weights, so that a wrapper around them breaks it."""
_FUSED = ("down_proj", "w2")
"""Where experts were fused on loading, PEFT takes a target module of this name for one of the experts."""


@dataclass(frozen=True)
class Carrier:
    """What holds a writer's LoRA.

    Attributes:
        target: A wrapped module, a wrapped lookup table, or a wrapped parameter (fused experts, among others).
        swapped: PEFT's input side of the parameter is d_model, so the two factors change places.
        turned: A module that keeps its weight as (d_in, d_model), as GPT-2's do.
    """

    target: Literal["module", "embedding", "parameter"]
    swapped: bool = False
    turned: bool = False


def carriers(writers: Iterable[Writer], model: Any, anatomy: Anatomy) -> dict[str, Carrier]:
    """What carries each writer, by name.

    Raises:
        ExportError: A LoRA cannot carry one of them; two lines say which and what to do.
    """
    chosen = list(writers)
    gaps = dict(_gaps(chosen, model, anatomy))
    if gaps:
        reasons: dict[str, list[str]] = {}
        for name, reason in gaps.items():
            reasons.setdefault(reason, []).append(name)
        listed = (
            f"{', '.join(names[:2])}{', ...' * (len(names) > 2)}: {why}" for why, names in reasons.items()
        )
        kinds = {writer.kind: None for writer in chosen}
        left = [kind for kind in kinds if not any(w.kind == kind and w.name in gaps for w in chosen)]
        quoted = ", ".join(f'"{kind}"' for kind in left)
        setting = f"Leave them out with --set 'ablation.writers=[{quoted}]', or export" if left else "Export"
        raise ExportError(
            f"an adapter cannot carry {len(gaps)} of {len(chosen)} writers ({'; '.join(listed)})",
            hint=f"{setting} a checkpoint instead (--export checkpoint).",
        )
    return {writer.name: _carrier(writer, model, anatomy) for writer in chosen}


def adapter_gaps(writers: Iterable[Writer], model: Any, anatomy: Anatomy) -> list[str]:
    """Writers whose edit a LoRA cannot carry, each with the reason; the model may be a skeleton."""
    return [f"{name}: {reason}" for name, reason in _gaps(list(writers), model, anatomy)]


def factors(edit: LowRankEdit, writer: Writer, carrier: Carrier, rank: int) -> dict[str, Tensor]:
    """LoRA factors `B @ A = left @ right` by PEFT's names, padded with zeros to a common rank."""
    prefix = f"base_model.model.{writer.module}"
    right = pad(edit.right, (0, 0, 0, rank - edit.right.shape[-2]))
    left = pad(edit.left, (0, rank - edit.left.shape[1]))
    if carrier.target == "embedding":
        return {f"{prefix}.lora_embedding_A": right, f"{prefix}.lora_embedding_B": left}
    if right.ndim == 3:
        left = left.expand(len(right), -1, -1)
    a, b = (left.mT, right.mT) if carrier.swapped else (right, left)
    if right.ndim == 3:  # PEFT: A is (experts * r, in), B (out, r * experts) with the expert last
        a, b = a.reshape(-1, a.shape[-1]), b.permute(1, 2, 0).reshape(b.shape[1], -1)
    return {f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}


def _gaps(writers: list[Writer], model: Any, anatomy: Anatomy) -> Iterator[tuple[str, str]]:
    names = _names(model)
    seen: dict[str, Carrier] = {}
    for writer in writers:
        reason = _reason(writer, model, anatomy, names)
        if not reason:
            found = _carrier(writer, model, anatomy)
            clash = seen.setdefault(writer.module, found)
            if clash is not found and "parameter" in (clash.target, found.target):
                reason = "PEFT wraps one parameter of a module only"
            elif found.target == "parameter" and any(each.turned for each in seen.values()):
                reason = "PEFT wraps no single parameters beside layers of GPT-2's kind"
        if reason:
            yield writer.name, reason


def _names(model: nn.Module) -> Mapping[str, list[str]]:
    """All names of a parameter by each of them."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {name: own for own in names.values() for name in own}


def _reason(writer: Writer, model: Any, anatomy: Anatomy, names: Mapping[str, list[str]]) -> str:
    """Why PEFT cannot carry a writer; empty if it can."""
    if writer.form in ("bias", "expert_bias"):
        return "it is a bias, and a LoRA is a product with the input"
    if writer.name not in names:
        return (
            f"{type(model.get_submodule(writer.module)).__name__} packs it in a way that PEFT does not wrap"
        )
    others = [name for name in names[writer.name] if name != writer.name]
    if others and writer.name == anatomy.tied_embedding:
        return f"it is also {others[0]}, which a merged adapter would change with it"
    if others:
        return f"it is also {others[0]}, and PEFT would wrap one of the two"
    if not writer.module:
        return "it belongs to the model itself, and PEFT wraps modules inside it"
    family = str(getattr(model.config, "model_type", ""))
    if writer.module.rpartition(".")[2] == "out_proj" and family in _REFUSED:
        return f"PEFT takes no adapter for the out_proj of {family}"
    if ".experts." in writer.name and family in _READ_FROM_OUTSIDE:
        return f"PEFT cannot wrap the experts of {family}"
    return ""


def _carrier(writer: Writer, model: Any, anatomy: Anatomy) -> Carrier:
    from transformers.pytorch_utils import Conv1D

    module = model.get_submodule(writer.module)
    own = writer.name == f"{writer.module}.weight"
    if isinstance(module, nn.Embedding) and own:
        # PEFT looks the factor up by the module's own input: right where the module does no more than that.
        plain = type(module).forward is nn.Embedding.forward or hasattr(module, "embed_scale")
        if plain:
            return Carrier("embedding")
    if isinstance(module, Conv1D) and own:
        return Carrier("module", turned=True)
    mistaken = writer.module.rpartition(".")[2] in _FUSED and _fused_on_loading(anatomy)
    if isinstance(module, nn.Linear) and own and not mistaken:
        return Carrier("module")
    d_model_last = writer.axis == len(writer.shape) - 1
    transposed = len(writer.shape) == 3 and bool(getattr(module, "is_transposed", False))
    return Carrier("parameter", swapped=d_model_last != transposed)


def _fused_on_loading(anatomy: Anatomy) -> bool:
    fused = (writer for writer in anatomy.writers if writer.form == "experts")
    return any(writer.disk is None or writer.disk.per_expert for writer in fused)
