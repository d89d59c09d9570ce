"""An image's tokens are written by an embedder that text never runs: it is edited with the embeddings, or it leaks."""

from __future__ import annotations

from typing import Any

import torch

from saber.ablation.apply import InPlace, applied, base_hash
from saber.ablation.compiler import compile_edit
from saber.ablation.edit import EditSet
from saber.ablation.operator import ablation_operator, written_directions
from saber.model.anatomy import Anatomy, effective_gain
from saber.model.examine import examine
from tests import pico

IMAGE = 250


def asked() -> dict[str, torch.Tensor]:
    """A text around one image of 4 x 4 patches, which become four tokens."""
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(5, 240, (1, 14), generator=generator)
    ids[0, 5:9] = IMAGE
    grid = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="xy"), dim=-1).reshape(
        1, 16, 2
    )
    return {
        "input_ids": ids,
        "pixel_values": torch.rand(1, 16, 48, generator=generator),
        "image_position_ids": grid,
        "mm_token_type_ids": (ids == IMAGE).long(),
    }


def edits_of(model: Any, anatomy: Anatomy, direction: torch.Tensor, left_out: str = "") -> EditSet:
    """The direction leaves every writer, the embeddings included."""
    chosen = [w for w in anatomy.writers if not left_out or left_out not in w.name]
    edits = {}
    for writer in chosen:
        gain = effective_gain(model, writer)
        operator = ablation_operator(direction[:, None], torch.ones(1), gain, centred=writer.centred)
        written = written_directions(direction[:, None], gain, writer.centred)
        edits[writer.name] = compile_edit(model, writer, operator, written / written.norm(dim=0))
    return EditSet(edits, base_hash(model, chosen))


@torch.no_grad()
def leak(model: Any, anatomy: Anatomy, direction: torch.Tensor) -> float:
    worst = []

    def read(hidden: torch.Tensor) -> None:
        worst.append(float(((hidden @ direction).abs() / hidden.norm(dim=-1)).max()))

    blocks = [anatomy.block(model, i) for i in range(anatomy.n_layers)]
    handles = [blocks[0].register_forward_pre_hook(lambda m, args: read(args[0]))]
    handles += [block.register_forward_hook(lambda m, args, out: read(out)) for block in blocks]
    model(**asked(), use_cache=False)
    for handle in handles:
        handle.remove()
    return max(worst)


def test_no_direction_is_left_at_an_image() -> None:
    model = pico.model("gemma4_mm")
    anatomy = examine(model)
    direction = torch.randn(64, generator=torch.Generator().manual_seed(3))
    direction /= direction.norm()
    assert leak(model, anatomy, direction) > 1e-2
    everything = edits_of(model, anatomy, direction)
    assert any("embed_vision" in name for name in everything.edits)
    with applied(model, anatomy, everything):
        assert leak(model, anatomy, direction) <= 1e-6
    with applied(model, anatomy, edits_of(model, anatomy, direction, left_out="embed_vision")):
        assert leak(model, anatomy, direction) > 1e-3
    placed = InPlace(model, anatomy, everything)
    assert leak(model, anatomy, direction) <= 1e-6
    placed.undo()
    assert leak(model, anatomy, direction) > 1e-2
