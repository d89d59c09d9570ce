"""From a model to its anatomy: writers are found on a tiny twin, carried over by name and checked against the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from saber.config import WriterKind
from saber.errors import AnatomyError
from saber.model.anatomy import Anatomy, CoverageRow, Writer
from saber.model.overrides import INTRINSIC, SOFT_TOKENS
from saber.model.survey import Survey, survey, width_of, wild
from saber.model.weights import shape_of, weight_names


def examine(model: Any, *, cache: Path | None = None) -> Anatomy:
    """Find every residual writer of a decoder.

    Args:
        model: A transformers causal or multimodal language model; weights on the meta device do.
        cache: Folder that remembers what was found on the twin; None: the user's cache folder.

    Raises:
        AnatomyError: The class cannot be built small, has no chain of blocks, or the model differs from its twin.
    """
    found = survey(type(model), model.config, cache)
    text = model.config.get_text_config()
    d_model = width_of(model.config)
    _check_depth(model, found)
    writers, unknown = _carry(model, found, d_model)
    soft, others = _other_inputs(model, found, d_model)
    intrinsic = INTRINSIC.get(str(text.model_type), "")
    odd = _unexplained(found, intrinsic)
    return Anatomy(
        family=str(text.model_type),
        d_model=d_model,
        n_layers=found.n_layers,
        streams=found.streams,
        layers=found.layers,
        decoder=found.decoder,
        writers=(*soft, *writers),
        unknown=(*unknown, *(row for row in odd if row.status == "unknown")),
        leak=found.leak,
        intrinsic=intrinsic,
        tied_embedding=_tied(model),
        others=(*others, *(row for row in odd if row.status == "skipped")),
    )


def _tied(model: Any) -> str:
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    weight = model.get_input_embeddings().weight
    if getattr(head, "weight", None) is not weight:
        return ""
    module = next(name for name, child in model.named_modules() if child is model.get_input_embeddings())
    return f"{module}.weight"


def _check_depth(model: Any, found: Survey) -> None:
    blocks = model.get_submodule(found.layers)
    if len(blocks) != found.n_layers:
        raise AnatomyError(
            f"{found.layers} holds {len(blocks)} blocks, a model of this config has {found.n_layers}",
            hint="The config and the weights belong to different models.",
        )


def _carry(model: Any, found: Survey, d_model: int) -> tuple[tuple[Writer, ...], tuple[CoverageRow, ...]]:
    """Writers of the real model by the twin's names."""
    templates = _Templates(found)
    writers, unknown, seen = [], [], set()
    for name in weight_names(model):
        template = templates.of(name)
        if isinstance(template, Writer):
            seen.add(template.name)
            writers.append(_writer(model, name, template, d_model))
        elif template == "unknown" and name.startswith(f"{found.layers}.") and not _packing(name):
            shape = shape_of(model, name)
            reason = "the model's twin has no such parameter"
            layer = _layer_of(name, found.layers)
            unknown.append(CoverageRow(name, layer, "?", shape, None, "", "", "unknown", reason))
    missing = [writer.name for writer in found.writers if writer.name not in seen]
    if missing:
        raise AnatomyError(
            f"{type(model).__name__} lacks {missing[0]}, which a model of its config has",
            hint="The checkpoint's code differs from the transformers release that is installed.",
        )
    return tuple(writers), tuple(unknown)


class _Templates:
    """What the twin says of a parameter: by its name, else by what all of its kind are (a twin has fewer experts)."""

    def __init__(self, found: Survey) -> None:
        self._layers = found.layers
        self._writers = {writer.name: writer for writer in found.writers}
        self._known = {*found.parameters, *self._writers}
        self._alike: dict[str, list[str]] = {}
        for name in self._known:
            self._alike.setdefault(wild(name, found.layers), []).append(name)

    def of(self, name: str) -> Writer | Literal["reader", "unknown"]:
        """The twin's writer, or whether the parameter only reads."""
        if name in self._known:
            return self._writers.get(name, "reader")
        alike = sorted(self._alike.get(wild(name, self._layers), ()))
        writing = [other for other in alike if other in self._writers]
        if not alike or 0 < len(writing) < len(alike):
            return "unknown"
        return replace(self._writers[writing[0]], disk=None) if writing else "reader"


def _unexplained(found: Survey, intrinsic: str) -> tuple[CoverageRow, ...]:
    """Writers behind something that no edit of the weight undoes: unknown, unless the architecture is known for it."""
    status: Literal["skipped", "unknown"] = "skipped" if intrinsic else "unknown"
    return tuple(
        CoverageRow(name, _layer_of(name, found.layers), "?", (), None, "", "", status, intrinsic or reason)
        for name, reason in found.unexplained
    )


def _packing(name: str) -> bool:
    """Scales and zero points that belong to a quantised weight of another name."""
    return name.endswith(("_scale_inv", "_scales", ".scale", "_blocks", ".SCB", ".weight_scale"))


def _writer(model: Any, name: str, template: Writer, d_model: int) -> Writer:
    shape = shape_of(model, name)
    if len(shape) != len(template.shape) or shape[template.axis] != d_model:
        raise AnatomyError(
            f"{name} has shape {list(shape)}; its axis {template.axis} should be d_model = {d_model}",
            hint="The config and the weights belong to different models.",
        )
    return replace(template, name=name, module=name.rpartition(".")[0], shape=shape)


def _layer_of(name: str, layers: str) -> int | None:
    number = name.removeprefix(f"{layers}.").partition(".")[0]
    return int(number) if name.startswith(f"{layers}.") and number.isdigit() else None


def _other_inputs(
    model: Any, found: Survey, d_model: int
) -> tuple[tuple[Writer, ...], tuple[CoverageRow, ...]]:
    """Embedders of image, video and sound tokens: a pass over text does not show them."""
    towers = list(_towers(model, found))
    if not towers:
        return (), ()
    named: Mapping[str, nn.Parameter] = dict(model.named_parameters())
    writers = []
    for suffix, axis in SOFT_TOKENS.get(str(model.config.model_type), ()):
        for name in named:
            if name.endswith(suffix) and shape_of(model, name)[axis] == d_model:
                kind: WriterKind = "embedding"
                module, shape = name.rpartition(".")[0], shape_of(model, name)
                writers.append(Writer(name, module, None, kind, "matrix", axis, shape))
    if writers:
        return tuple(writers), ()
    reason = "what it writes at the positions of images or sound is not known; text is not concerned"
    rows = (CoverageRow(name, None, "soft tokens", (), None, "", "", "skipped", reason) for name in towers)
    return (), tuple(rows)


def _towers(model: Any, found: Survey) -> Iterator[str]:
    """Submodules beside the decoder that hold weights, the unembedding aside."""
    parent = found.decoder.rpartition(".")[0]
    beside = model.get_submodule(parent) if parent else model
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    for name, child in beside.named_children():
        full = f"{parent}.{name}" if parent else name
        if full == found.decoder or child is head or not any(True for _ in child.parameters()):
            continue
        if found.decoder.startswith(f"{full}."):
            continue
        yield full
