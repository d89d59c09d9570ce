"""An edited embedding that is also the unembedding: the two part, and the unembedding stays as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from saber.ablation.edit import EditSet
from saber.config import ModelConfig
from saber.errors import ExportError
from saber.export.disk_names import Held
from saber.export.shards import INDEX, SINGLE, Place, places, read_tensor
from saber.model.anatomy import Anatomy
from saber.model.disk_map import disk_name
from saber.model.load import skeleton
from saber.store import read_json, write_json, write_tensors

_CONFIG = "config.json"
_BODY = "model-body.safetensors"
"""What a single file of weights is called beside the unembedding: transformers prefers a `model.safetensors`."""
_HEAD = "model-unembedding.safetensors"
_KEPT = {
    _CONFIG: "config.base.json",
    SINGLE: _BODY,
    INDEX: "model.safetensors.index.base.json",
}


@dataclass(frozen=True)
class Untying:
    """What an export does to a checkpoint whose embedding is also its unembedding.

    Attributes:
        folder: The base's folder.
        there: What the base holds.
        heads: Unembeddings that it lacks by their names on disk, each with where the embedding lies. Some checkpoints
            hold a copy already, which nobody read.
        config: What config.json says of the export.
    """

    folder: Path
    there: Mapping[str, Place]
    heads: Mapping[str, Place]
    config: Mapping[str, Any]

    @property
    def renamed(self) -> dict[str, str]:
        """Files of the base that others take the place of, and what they are called in the export."""
        moved = _KEPT if self.heads else (_CONFIG,)
        return {name: _KEPT[name] for name in moved if (self.folder / name).is_file()}

    @property
    def added(self) -> tuple[str, ...]:
        """Files that are new or written anew."""
        return (_CONFIG, INDEX, _HEAD) if self.heads else (_CONFIG,)

    @property
    def size(self) -> int:
        """Bytes that the unembeddings take."""
        return sum(place.stop - place.start for place in self.heads.values())

    def write(self, partial: Path) -> None:
        """Write config, unembeddings and index beside the copied files, before anything is edited."""
        write_json(partial / _CONFIG, self.config)
        if self.heads:
            tensors = {name: read_tensor(self.folder, place) for name, place in self.heads.items()}
            write_tensors(partial / _HEAD, tensors, {"format": "pt"})
            write_json(partial / INDEX, self._index())

    def _index(self) -> dict[str, Any]:
        """The base's index, or a new one, with the unembeddings."""
        whole = (self.folder / SINGLE).is_file()
        index: dict[str, Any] = {} if whole else read_json(self.folder / INDEX)
        metadata = index.get("metadata", {})
        size = sum(place.stop - place.start for place in self.there.values()) + self.size
        index["metadata"] = {**metadata, "total_size": size}
        if "total_parameters" in metadata:
            more = sum(prod(place.shape) for place in self.heads.values())
            index["metadata"]["total_parameters"] = metadata["total_parameters"] + more
        files = {name: self.renamed.get(place.file, place.file) for name, place in self.there.items()}
        index["weight_map"] = {**files, **dict.fromkeys(self.heads, _HEAD)}
        return index


def untying(
    folder: Path,
    edits: EditSet,
    anatomy: Anatomy,
    found: Mapping[str, Held],
    config: ModelConfig | None = None,
) -> Untying | None:
    """What must be done so that an edit of a tied embedding leaves the unembedding alone; None where nothing must.

    Args:
        folder: The base's folder.
        edits: The edit.
        anatomy: Anatomy of the base.
        found: What holds the edited writers on disk.
        config: How the base may be loaded (its own code, for instance).

    Raises:
        ExportError: The class cannot have the one without the other.
    """
    name = anatomy.tied_embedding
    if not name or name not in edits.edits:
        return None
    settings = config or ModelConfig()
    model = skeleton(folder, str(folder), settings)
    own = next((names for names in _ties(model) if name in names), frozenset({name}))
    parted = _parted(folder, model)
    _check_parted(model, parted, own, settings)
    heads = sorted(disk_name(model, other) for other in own if other != name)
    there = places(folder)
    missing = {head: found[name].places[0] for head in heads if head not in there}
    return Untying(folder, there, missing, parted)


def _parted(folder: Path, model: Any) -> dict[str, Any]:
    """The base's config.json with the tie undone, in the text model's own section too."""
    text = model.config.get_text_config()
    sections = getattr(model.config, "sub_configs", ())
    own = [name for name in sections if getattr(model.config, name, None) is text]
    config: dict[str, Any] = read_json(folder / _CONFIG)
    for section in (config, *(config.get(name) for name in own)):
        if isinstance(section, dict):
            section["tie_word_embeddings"] = False
    return config


def _check_parted(model: Any, config: Mapping[str, Any], own: frozenset[str], settings: ModelConfig) -> None:
    """Refuse a class of which the config's setting ties more, or less, than the embeddings."""
    with TemporaryDirectory() as folder:
        write_json(Path(folder) / _CONFIG, config)
        left = _ties(skeleton(Path(folder), type(model).__name__, settings))
    wanted = _ties(model) - {own}
    if left == wanted:
        return
    lost = wanted - left
    reason = f"{min(min(lost))} among other things" if lost else "nothing"
    raise ExportError(
        f"{type(model).__name__} cannot have an unembedding of its own: tie_word_embeddings = false unties {reason}",
        hint='Leave "embedding" out of ablation.writers.',
    )


def _ties(model: Any) -> set[frozenset[str]]:
    """Names of the parameters that have several."""
    names: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    return {frozenset(each) for each in names.values() if len(each) > 1}
