"""Every point of a search on disk: the units' factors once, and one row of strengths a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from saber.ablation.apply import writers_hash
from saber.ablation.edit import EditSet, LowRankEdit
from saber.ablation.units import UnitBank
from saber.errors import StoreError
from saber.files import read_json, read_tensors, write_json, write_tensors
from saber.store import RunFolder

_FACTORS = ("left", "right", "read", "directions")


def save_points(folder: RunFolder, bank: UnitBank, alphas: Float[Tensor, "points n"]) -> None:
    """Keep what any point's edit is made from."""
    tensors: dict[str, Tensor] = {"alphas": alphas.float().contiguous()}
    rows: list[dict[str, Any]] = []
    for place, strand in enumerate(bank.strands):
        full = strand.full
        tensors |= {f"{place}.{name}": getattr(full, name).contiguous() for name in _FACTORS}
        rows.append(
            {
                "writer": full.writer,
                "units": list(strand.units),
                "experts": None if full.experts is None else list(full.experts),
                "mode": full.mode,
                "sha256": bank.digest_of(full.writer),
            }
        )
    write_tensors(folder.state_path("points", ".safetensors"), tensors, {})
    write_json(folder.state_path("points"), {"writers": rows})


def point_edit(folder: RunFolder, number: int) -> EditSet:
    """The edit of a point.

    Raises:
        StoreError: The run is no finished search, or has no such point.
    """
    file = folder.state_path("points")
    if not file.is_file():
        raise StoreError(
            f"{folder.path} holds no points", hint="--point is for a folder that `saber search` has finished."
        )
    tensors, _ = read_tensors(folder.state_path("points", ".safetensors"))
    alphas = tensors["alphas"]
    if not 0 <= number < len(alphas):
        raise StoreError(
            f"{folder.path} has no point {number}",
            hint=f"Its points are 0 to {len(alphas) - 1}; see front.json.",
        )
    rows: Sequence[Any] = read_json(file)["writers"]
    made, digests = {}, {}
    for place, row in enumerate(rows):
        own = alphas[number][row["units"]]
        if not bool((own != 0).any()):
            continue
        experts = None if row["experts"] is None else tuple(row["experts"])
        left, right, read, directions = (tensors[f"{place}.{name}"] for name in _FACTORS)
        full = LowRankEdit(row["writer"], left, right, read, directions, experts, row["mode"])
        made[full.writer] = full.weighted(own)
        digests[full.writer] = row["sha256"]
    if not made:
        raise StoreError(f"point {number} edits nothing", hint="Take another point; see front.json.")
    return EditSet(made, writers_hash(digests))
