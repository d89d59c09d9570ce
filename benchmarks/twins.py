"""Which model classes have a twin: every decoder that transformers knows, at its real size.

    python benchmarks/twins.py [--only REGEX]

One line a model type (and one a well-known checkpoint written down by hand): seconds to build the twin and to run it,
its size, and how many decoder tensors have a second axis as long as the stream; or what went wrong. The counts come
last. The real-size model is built without memory, and its parameter names must be the twin's.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from tests.model.library_defaults import NOT_TEXT
from tests.model.real_sizes import REAL
from tests.model.twin_check import check

from saber.errors import SaberError

FAILURES = (
    SaberError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def main() -> int:
    """Print one line for each model type and the counts."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", metavar="REGEX", default=".*", help="model types to check, whole name")
    only = re.compile(arguments.parse_args().only)
    _quiet()
    counts: dict[str, Counter[str]] = {}
    started = time.perf_counter()
    for kind, names in model_types().items():
        counts[kind] = Counter()
        for name in filter(only.fullmatch, names):
            outcome, line = report(name)
            counts[kind][outcome] += 1
            print(f"{outcome:8} {name:28} {line}", flush=True)
    for kind, found in counts.items():
        tried = found["ok"] + found["FAILED"]
        print(f"{kind}: {found['ok']}/{tried} ok, {found['skipped']} skipped")
    print(f"{time.perf_counter() - started:.0f} s")
    return int(any(found["FAILED"] for found in counts.values()))


def model_types() -> dict[str, list[str]]:
    """Names to check, by kind."""
    from transformers.models.auto import modeling_auto as auto

    text = sorted(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    image = sorted(set(auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES) - set(text))
    return {"causal language models": text, "image-text models": image, "checkpoints by hand": list(REAL)}


def report(name: str) -> tuple[str, str]:
    """Outcome and line of one model type."""
    if name in NOT_TEXT:
        return "skipped", NOT_TEXT[name]
    try:
        found = check(name)
    except FAILURES as error:
        return "FAILED", f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    if found.differing:
        return "FAILED", f"{len(found.differing)} names differ, first {found.differing[0]}"
    size = sum(p.numel() for p in found.twin.parameters()) * 4 / 2**20
    notes = [
        f"build {found.build_seconds:.2f} s",
        f"forward {found.forward_seconds:.2f} s",
        f"{size:4.1f} MiB",
    ]
    notes += [f"{len(found.ambiguous)} ambiguous ({found.ambiguous[0]})"] if found.ambiguous else []
    notes += ["names not compared (the real model needs timm)"] if found.real is None else []
    return "ok", ", ".join(notes)


def _quiet() -> None:
    from transformers.utils import logging

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()


if __name__ == "__main__":
    sys.exit(main())
