"""Where a RunConfig comes from: defaults, then a preset, then a TOML file, then `--set section.key=value`."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from saber.config import RunConfig, Section
from saber.errors import ConfigError


def presets() -> list[str]:
    """Names of the presets that ship with the package."""
    return sorted(
        p.name.removesuffix(".toml")
        for p in resources.files("saber.presets").iterdir()
        if p.name.endswith(".toml")
    )


def preset_text(name: str) -> str:
    """A preset's TOML, verbatim.

    Raises:
        ConfigError: No such preset.
    """
    if name not in presets():
        raise ConfigError(
            f"unknown preset {name!r}", hint=f"{_nearest(name, presets())}Presets: {', '.join(presets())}."
        )
    return (resources.files("saber.presets") / f"{name}.toml").read_text(encoding="utf-8")


def resolve(
    *,
    preset: str | None = None,
    file: Path | None = None,
    assignments: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> tuple[RunConfig, str]:
    """Build the configuration; later sources win.

    Args:
        preset: Name of a preset.
        file: A TOML file.
        assignments: `section.key=value`, values as in TOML (a bare word is a string).
        options: Values by `section.key`, taken as they are.

    Returns:
        The configuration, and the user's own text for `run.toml`: the file verbatim, the rest as comments.

    Raises:
        ConfigError: Unreadable file, invalid TOML, unknown key (with the nearest known one), value out of range.
    """
    values: dict[str, Any] = {}
    texts = []
    if preset:
        texts.append(f"# preset: {preset}\n")
        _merge(values, _parse(preset_text(preset), f"preset {preset}"))
    if file:
        texts.append(_read(file))
        _merge(values, _parse(texts[-1], str(file)))
    for assignment in assignments:
        texts.append(f"# --set {assignment}\n")
        _merge(values, _assignment(assignment))
    for key, value in (options or {}).items():
        texts.append(f"# option: {key} = {toml_value(value)}\n")
        _merge(values, _nested(key, value))
    _check_keys(values)
    try:
        return RunConfig.model_validate(values), "".join(texts)
    except ValidationError as error:
        raise _explain(error) from error


def to_toml(config: RunConfig) -> str:
    """Every key of a configuration, as TOML."""
    lines: list[str] = []
    for name, value in config:
        if not isinstance(value, Section):
            lines.append(f"{name} = {toml_value(value)}")
    for name, section in config:
        if isinstance(section, Section):
            lines += ["", f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in section)]
    return "\n".join(lines) + "\n"


def known_keys() -> Iterator[str]:
    """Every key as `section.key`."""
    for name, value in RunConfig():
        if isinstance(value, Section):
            yield from (f"{name}.{key}" for key, _ in value)
        else:
            yield name


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}", hint="--config takes a TOML file.") from error


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{where} is not valid TOML: {error}", hint="See the files in runs/ for examples."
        ) from error


def _assignment(text: str) -> dict[str, Any]:
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            f"--set {text!r} is not section.key=value", hint="Example: --set ablation.alpha_base=0.8"
        )
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw.strip()  # a bare word is a string
    return _nested(key.strip(), value)


def _nested(key: str, value: Any) -> dict[str, Any]:
    nested: Any = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return dict(nested)


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _check_keys(values: Mapping[str, Any]) -> None:
    known = list(known_keys())
    sections = {key.partition(".")[0] for key in known}
    for name, value in values.items():
        given = [f"{name}.{key}" for key in value] if isinstance(value, Mapping) else [name]
        if name not in sections:
            raise ConfigError(f"unknown config key {given[0]!r}", hint=_nearest(given[0], known) + _where())
        for key in given:
            if key not in known:
                raise ConfigError(f"unknown config key {key!r}", hint=_nearest(key, known) + _where())


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
    return f"Did you mean {close[0]!r}? " if close else ""


def _where() -> str:
    return "`saber config` prints every key."


def _explain(error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(
        str(part)
        for part in first["loc"]
        if not str(part).startswith(("literal", "function", "int", "constrained"))
    )
    return ConfigError(
        f"config key {key!r} cannot be {first['input']!r}: {first['msg']}",
        hint="`saber config` explains every key.",
    )


def toml_value(value: Any) -> str:
    """One value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")  # a JSON string is a TOML basic string
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return repr(value)
