"""Whether everything on disk has found its place in the model, and every place in the model has been filled."""

from __future__ import annotations

import re
from typing import Any

from saber.errors import ModelError

_HARMLESS = re.compile(
    r"rotary_emb\.inv_freq$|(^|\.)position_ids$"  # computed, not learned
    r"|\.(attn|attention)\.(masked_)?bias$"  # causal masks of GPT-2, GPT-J and NeoX; learned biases lie deeper
    r"|(^|\.)mtp[._]"  # draft heads for guessing several tokens at once, which plain decoding leaves out
)
"""Tensors on disk that a model may do without: leftovers of older releases, and parts that answer nothing."""


def check_complete(report: Any, name: str) -> None:
    """Refuse a model that was only partly filled from disk, or that is only part of what lies there.

    transformers itself merely warns of both. What a model's class declares as ignored is not in the report.

    Args:
        report: The loading report of `from_pretrained`.
        name: What the user typed.

    Raises:
        ModelError: See above.
    """
    missing = sorted(report.get("missing_keys", ()))
    mismatched = [str(item[0]) for item in report.get("mismatched_keys", ())]
    if missing or mismatched:
        listed = ", ".join((missing + mismatched)[:4])
        raise ModelError(
            f"{name}: {len(missing)} tensors are missing and {len(mismatched)} have other shapes than the config "
            f"says ({listed}), so part of the model would be random",
            hint="The checkpoint is incomplete or its config belongs to another model.",
        )
    extra = sorted(key for key in report.get("unexpected_keys", ()) if not _HARMLESS.search(key))
    if extra:
        raise ModelError(
            f"{name}: {len(extra)} tensors of the checkpoint have no place in the model that its config describes "
            f"({', '.join(extra[:4])}), so part of what was trained would be left out",
            hint="Its config names too few layers or another class; take config.json from the original release.",
        )
