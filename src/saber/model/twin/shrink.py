"""From a real model's config to one of the same depth and pattern whose every width is small."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, MutableMapping, Sequence
from functools import cache
from typing import Any

from saber.model.twin.overrides import FLAGS, OVERRIDES, STAND_INS
from saber.model.twin.rope import rotary_share, shrink_rope
from saber.model.twin.rules import (
    D_MODEL,
    HEADS_OF,
    LOW_IDS,
    RELATIONS,
    RULES,
    TOWER,
    TOWERS,
    VOCABULARY,
    Rule,
    Values,
)

_DROPPED = ("quantization_config", "compression_config")
_SPEC = "_heterogeneity_spec"
"""Where transformers keeps what single layers have of their own (Gemma 4's wide global heads)."""
_WIDTHS = ("hidden_size", "d_model", "n_embd")
"""Names of the residual width."""
_KEEP = Rule("", "keep")


def shrink(config: Any) -> Any:
    """Copy a config with every width small and the depth, pattern and flags as they are.

    The copy asks for float32 and eager attention, without quantisation. Composite configs are shrunk whole; what a
    tower shares with the decoder (its output width) follows the decoder. The original is not touched.

    Args:
        config: A transformers config of any class.

    Returns:
        A config of the same class.
    """
    import torch

    small = copy.deepcopy(config)
    _Shrinker(small).node(small, tower=False)
    for node in nodes(small):
        node.__dict__["dtype"] = torch.float32
        for key in _DROPPED:
            node.__dict__.pop(key, None)
    small._attn_implementation = "eager"
    small._experts_implementation = "eager"
    return small


def nodes(config: Any) -> Iterator[Any]:
    """A config and all configs inside it."""
    from transformers import PreTrainedConfig

    yield config
    for value in vars(config).values():
        if isinstance(value, PreTrainedConfig):
            yield from nodes(value)


@cache
def rule_of(key: str) -> Rule:
    """The rule for a config key."""
    name = key.lstrip("_")
    return next((rule for rule in RULES if re.fullmatch(rule.pattern, name)), _KEEP)


class _Shrinker:
    """Shrinks one config tree in place; one numbering of token ids for the whole of it."""

    def __init__(self, config: Any) -> None:
        found = [vars(node).get("vocab_size") for node in nodes(config)]
        sizes = [size for size in found if isinstance(size, int) and size > 2 * LOW_IDS]
        self.vocabulary = min([*sizes, VOCABULARY])
        self.tokens: dict[int, int] = {}

    def node(self, node: Any, *, tower: bool) -> None:
        """Shrink the values of a config or of a plain dictionary inside one."""
        values: dict[str, Any] = node if isinstance(node, dict) else node.__dict__
        old = {key: copy.deepcopy(value) if key == _SPEC else value for key, value in values.items()}
        for key, value in old.items():
            if key != _SPEC and not _is_rope(key, value):
                values[key] = self.value(key, value, old, tower=tower)
        _relate(values, old)
        values.update({key: value for key, value in FLAGS.items() if key in values})
        family = str(getattr(node, "model_type", ""))
        values.update(copy.deepcopy(dict(OVERRIDES.get(family, {}))))
        if _SPEC in old:
            self.layers(values[_SPEC].per_layer_overrides, values, old, tower=tower)
        for key in [key for key, value in old.items() if _is_rope(key, value)]:
            values[key] = shrink_rope(old[key], family, values, old)
        if "partial_rotary_factor" in old:
            values["partial_rotary_factor"] = rotary_share(old["partial_rotary_factor"], values, old)

    def layers(self, overrides: Any, values: Values, old: Values, *, tower: bool) -> None:
        """Shrink what single layers have of their own, in proportion to what the others have."""
        for own in overrides.values():
            was = {**old, **own}
            for key, value in tuple(own.items()):
                number = isinstance(value, int) and isinstance(old.get(key), int) and old[key] > 0
                if number and rule_of(key).mode == "cap":
                    own[key] = max(2, round(values[key] * min(max(value / old[key], 0.5), 2.0) / 2) * 2)
                elif key != "skip":
                    own[key] = self.value(key, value, was, tower=tower)
            now = {**values, **own}
            _relate(now, was)
            own.update({key: value for key, value in now.items() if key in own or value != values.get(key)})

    def value(self, key: str, value: Any, old: Values, *, tower: bool) -> Any:
        """The small counterpart of one config value."""
        from transformers import PreTrainedConfig

        if isinstance(value, PreTrainedConfig) or _is_section(value):
            self.node(value, tower=tower or re.fullmatch(TOWERS, key) is not None)
            return _stand_in(value) if getattr(value, "model_type", None) in STAND_INS else value
        if isinstance(value, list | tuple) and value:
            return self.items(key, value, old, tower=tower)
        if isinstance(value, int) and not isinstance(value, bool):
            return self.number(key, value, old, tower=tower)
        return value

    def items(self, key: str, values: Sequence[Any], old: Values, *, tower: bool) -> Sequence[Any]:
        """A list of the same length; widths that differ still differ."""
        for value in values:
            if _is_section(value):
                self.node(value, tower=tower)
        if not all(type(value) is int for value in values):
            return values
        ranks = {value: rank for rank, value in enumerate(sorted(set(values)))}
        apart = 8 if rule_of(key).mode in ("cap", "stream") else 0
        new = [self.number(key, value, old, tower=tower) for value in values]
        new = [n + apart * min(ranks[v], 8) if n != v else n for n, v in zip(new, values, strict=True)]
        return type(values)(new)  # type: ignore[call-arg]

    def number(self, key: str, value: int, old: Values, *, tower: bool) -> int:
        """The small counterpart of one integer."""
        rule = rule_of(key)
        size = rule.tower if tower and rule.tower is not None else rule.text
        if rule.mode == "tokens":
            return self.token(value)
        if rule.mode == "keep" or value <= 0:
            return value
        if rule.mode == "set":
            return size
        if rule.mode == "heads":
            return size if value > 2 else value
        if rule.mode == "kv":
            return _key_heads(value, old.get(HEADS_OF.get(key, "")), size)
        if rule.mode == "stream" and value in (old.get(name) for name in _WIDTHS):
            return TOWER if tower else D_MODEL
        return min(value, size)

    def token(self, value: int) -> int:
        """A token id inside the small vocabulary; distinct ids stay distinct, counted down from the top."""
        if value < LOW_IDS:
            return value
        return self.tokens.setdefault(value, self.vocabulary - 1 - len(self.tokens))


def _stand_in(tower: Any) -> Any:
    """A small tower of another class; what the projector reads of the old config is carried over."""
    from transformers import SiglipVisionConfig

    new = SiglipVisionConfig(
        hidden_size=TOWER,
        intermediate_size=56,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    new.__dict__.update({key: value for key, value in vars(tower).items() if key not in vars(new)})
    return new


def _is_section(value: Any) -> bool:
    """Whether a value is a dictionary of settings; tables such as id2label are not."""
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_rope(key: str, value: Any) -> bool:
    return isinstance(value, dict) and "rope" in key


def _key_heads(value: int, queries: Any, size: int) -> int:
    """Key heads that relate to `size` query heads as `value` to `queries`: all, one, or in groups."""
    if isinstance(queries, list | tuple):
        queries = min(queries)
    if value == queries:
        return size if value > 2 else value
    return 1 if value == 1 else size // 2


def _relate(values: MutableMapping[str, Any], old: Values) -> None:
    """Make every relation between sizes that held before hold again."""
    done: set[str] = set()
    for key, formula in RELATIONS:
        if key not in done and _holds(key, formula, old):
            values[key] = formula(values)
            done.add(key)


def _holds(key: str, formula: Any, old: Values) -> bool:
    try:
        return type(old.get(key)) is int and old[key] > 0 and bool(formula(old) == old[key])
    except (KeyError, TypeError, ZeroDivisionError):
        return False
