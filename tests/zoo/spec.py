"""What is known of an architecture: how to build it tiny, and which of its parameters write to the stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VOCAB = 300
BASE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 20,  # 4 x 20 = 80: no attention matrix is square by accident
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Names that most configs share."""


@dataclass(frozen=True)
class Architecture:
    """One architecture of the zoo.

    Attributes:
        model_type: Key of transformers' config mapping.
        config: Keyword arguments of the config.
        layers: Name of the list of blocks.
        writers: Writers of the blocks, separated by semicolons: `layer: name [form axis] <- 1+norm * norm centred`,
            where only the name is needed. `.weight` is left out; `*` stands for an index. A line holds in every block
            (or the one given) that has its parameters; of several lines for one parameter the first that holds.
        inputs: Writers of the stream's first value, in the same notation, by full names.
        leaks: Why a direction stays in the stream whatever is done to the weights; empty if none does.
        unexplained: Parameters of the blocks that write, but behind something that no edit of the weight undoes, in
            the same notation; they go before `writers`.
        streams: Number of parallel streams.
        unseen: Discovery was developed without it.
        changed: What its first run changed, in discovery or in the expectation; empty if it was exact at once.
    """

    model_type: str
    config: Mapping[str, Any]
    writers: str
    layers: str = "model.layers"
    inputs: str = "model.embed_tokens [embedding 1]"
    leaks: str = ""
    unexplained: str = ""
    streams: int = 1
    unseen: bool = False
    changed: str = ""


@dataclass(frozen=True, order=True)
class Line:
    """One writer, expected or found.

    Attributes:
        name: Parameter name within its block, or a pattern of names.
        form: As in `Found`.
        axis: As in `Found`.
        gains: (parameter name, offset) in order.
        centred: As in `Found`.
        layer: The only block that the line holds for; None for all.
    """

    name: str
    form: str = "matrix"
    axis: int = 0
    gains: tuple[tuple[str, float], ...] = ()
    centred: bool = False
    layer: int | None = None

    def __str__(self) -> str:
        gains = " * ".join(f"{'1+' if offset else ''}{name}" for name, offset in self.gains)
        tail = f" <- {gains}" if gains else ""
        return f"{self.name} [{self.form} {self.axis}]{tail}{' centred' if self.centred else ''}"


_LINE = re.compile(
    r"(?:(?P<layer>\d+): )?(?P<name>[\w.*]+)(?: \[(?P<form>\w+) (?P<axis>\d)\])?"
    r"(?: <-(?P<gains>(?: \*? ?(?:1\+)?(?!centred)[\w.]+)*))?(?P<centred> centred)?"
)


def parse(text: str) -> list[Line]:
    """Read the notation of `Architecture.writers`."""
    return [_parse_line(line.strip()) for line in text.split(";") if line.strip()]


def expected(text: str, parameters: Mapping[str, Any], layer: int | None = None) -> dict[str, Line]:
    """What the notation expects of a module with these parameters, by parameter name."""
    seen: dict[str, Line] = {}
    for line in parse(text):
        gains = [(_resolve(name, parameters), offset) for name, offset in line.gains]
        if any(name is None for name, _ in gains) or line.layer not in (None, layer):
            continue
        pattern = re.compile(re.escape(line.name).replace(r"\*", r"\d+") + r"(\.weight)?")
        for name in parameters:
            if pattern.fullmatch(name):
                known = tuple((str(gain), offset) for gain, offset in gains)
                seen.setdefault(name, Line(name, line.form, line.axis, known, line.centred))
    return seen


def _parse_line(text: str) -> Line:
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a writer: {text!r}")
    gains = tuple(
        (gain.removeprefix("1+"), float(gain.startswith("1+")))
        for gain in re.split(r"[* ]+", match["gains"] or "")
        if gain
    )
    vector = match["name"].endswith(("bias", "init"))
    form = match["form"] or ("bias" if vector else "matrix")
    layer = int(match["layer"]) if match["layer"] else None
    return Line(match["name"], form, int(match["axis"] or 0), gains, bool(match["centred"]), layer)


def _resolve(name: str, parameters: Mapping[str, Any]) -> str | None:
    return next((full for full in (f"{name}.weight", name) if full in parameters), None)
