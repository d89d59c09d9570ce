"""Rotary embeddings of a twin: no long-context scaling, and sections that fit its narrow heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saber.model.twin.overrides import MROPE
from saber.model.twin.rules import Values

_PLAIN = ("default", "mrope", "proportional", "axial", "ntk_alpha")
"""Types that say how positions are laid out over a head; the others stretch them."""
_UNSTRETCHED = {"rope_type": "linear", "factor": 1.0}
"""What stretched types become: the default's angles, on the code path that honours partial rotation as theirs do."""


def shrink_rope(rope: dict[str, Any], family: str, now: Values, was: Values) -> dict[str, Any]:
    """Rotary settings for narrow heads, flat or one for each layer type.

    Args:
        rope: Settings of the real model.
        family: Its `model_type`.
        now: The twin's config values.
        was: The real model's config values.
    """
    if any(isinstance(value, dict) for value in rope.values()):
        return {
            key: shrink_rope(value, family, _of_layers(key, now), _of_layers(key, was))
            if isinstance(value, dict)
            else value
            for key, value in rope.items()
        }
    scaling = ("factor", "attention_factor", "short_factor", "long_factor")
    new = {key: value for key, value in rope.items() if key not in scaling}
    if new.get("rope_type", new.get("type", "default")) not in _PLAIN:
        new.update(_UNSTRETCHED)
    share = rotary_share(rope.get("partial_rotary_factor"), now, was)
    if share is not None:
        new["partial_rotary_factor"] = share
    sections = rope.get("mrope_section") or MROPE.get(family)
    if sections:
        new["mrope_section"] = split(sections, int(_head_dim(now) * (share or 1.0)) // 2)
    return new


def rotary_share(share: Any, now: Values, was: Values) -> Any:
    """Part of a head that rotates: as before, or anew where the config names that part's width."""
    width = was.get("qk_rope_head_dim")
    if not isinstance(share, float) or not width or round(share * _head_dim(was)) != width:
        return share
    return now["qk_rope_head_dim"] / _head_dim(now)


def split(sections: Sequence[int], total: int) -> list[int]:
    """Sections of about the same proportions that add up to `total`; those that were equal stay equal if they can."""
    new = [max(1, size * total // sum(sections)) for size in sections]
    for size in sorted(set(sections), key=list(sections).count, reverse=True):
        more = (total - sum(new)) // list(sections).count(size)
        new = [part + more * (old == size) for part, old in zip(new, sections, strict=True)]
    new[0] += total - sum(new)
    return new


def _of_layers(layer_type: str, values: Values) -> Values:
    """Config values as layers of one type see them."""
    spec, types = values.get("_heterogeneity_spec"), values.get("layer_types") or ()
    if spec is None or layer_type not in types:
        return values
    return {**values, **spec.per_layer_overrides.get(list(types).index(layer_type), {})}


def _head_dim(values: Values) -> int:
    return int(values.get("head_dim") or values["hidden_size"] // values["num_attention_heads"])
