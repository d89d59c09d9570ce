"""A grid of settings: read from the command line, checked before any model is loaded."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from saber.config import RunConfig, Section
from saber.errors import ConfigError
from saber.settings import known_keys, resolve

PUBLISHED_PRESET = "gemma4-e2b-refined"
"""Settings that the published sweep was made around."""

_SECTIONS = ("spectrum", "entanglement", "ablation", "refinement")
_SHARED = (
    "ablation.experts",
    "ablation.expert_share",
    "ablation.input_mode",
    "ablation.input_weight",
    "ablation.input_rows",
)  # decided once, while the prompts are labelled


Point = tuple[dict[str, Any], RunConfig]
"""Settings of one configuration as the configuration reads them, and the whole of it."""


@dataclass(frozen=True)
class Grid:
    """Settings and the values that each of them takes.

    Attributes:
        axes: (`section.key`, values), the last one changing fastest.
    """

    axes: tuple[tuple[str, tuple[Any, ...]], ...]

    def points(self) -> list[dict[str, Any]]:
        """Every combination of values, in order."""
        keys = [key for key, _ in self.axes]
        combined = itertools.product(*(values for _, values in self.axes))
        return [dict(zip(keys, values, strict=True)) for values in combined]


PUBLISHED = Grid((("spectrum.global_top_k", (10, 25, 50, 75)), ("ablation.alpha_base", (0.7, 0.85, 1.0))))
"""The grid of the published table."""


def parse_grid(texts: Sequence[str]) -> Grid:
    """Read `section.key=a,b,c`, values as in TOML (a bare word is a string); no text at all: the published grid.

    Raises:
        ConfigError: Not of that form, a value that is missing, a key that is unknown, given twice, or the same for all
            configurations of a sweep.
    """
    axes: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        key, equals, raw = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise _grid_error(f"--grid {text!r} is not section.key=a,b,c")
        if key in axes:
            raise _grid_error(f"--grid names {key} twice")
        if key not in known_keys():
            resolve(options={key: ""})  # names the nearest key
        if key.partition(".")[0] not in _SECTIONS or key in _SHARED:
            raise ConfigError(
                f"--grid cannot vary {key}: one model, one set of prompts and one way of measuring serve all "
                "configurations of a sweep",
                hint=f"Vary keys of {', '.join(_SECTIONS)} (not ablation.experts), or start a sweep for each value.",
            )
        axes[key] = _values(text, raw)
    return Grid(tuple(axes.items())) if axes else PUBLISHED


def _values(text: str, raw: str) -> tuple[Any, ...]:
    if raw[:1] in ("", ",") or raw.endswith(","):  # TOML would allow a comma at the end
        raise _grid_error(f"--grid {text!r} has an empty value")
    try:
        return tuple(tomllib.loads(f"values = [{raw}]")["values"])
    except tomllib.TOMLDecodeError:
        found = tuple(_value(part.strip()) for part in raw.split(","))
    if "" in found:
        raise _grid_error(f"--grid {text!r} has an empty value")
    return found


def _value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def _grid_error(message: str) -> ConfigError:
    return ConfigError(
        message, hint="Example: --grid spectrum.global_top_k=10,25 --grid ablation.alpha_base=0.7,1.0"
    )


def configurations(grid: Grid, base: RunConfig) -> list[Point]:
    """The grid's settings, each with the whole configuration that it makes of `base`.

    Raises:
        ConfigError: A value that is out of range or contradicts another, or two configurations that are the same.
    """
    flat: dict[str, Any] = {}
    for name, value in base:
        flat |= {f"{name}.{key}": v for key, v in value} if isinstance(value, Section) else {name: value}
    found: list[Point] = []
    for point in grid.points():
        config, _ = resolve(options={**flat, **point})
        if any(config == other for _, other in found):
            said = " ".join(f"{key}={value}" for key, value in point.items())
            raise _grid_error(f"--grid gives the same configuration twice: {said}")
        typed = config.model_dump(mode="json")
        found.append(({key: typed[key.split(".")[0]][key.split(".")[1]] for key in point}, config))
    return found
