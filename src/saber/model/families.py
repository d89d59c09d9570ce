"""Which modules of each known family write to the residual stream; everything else in a block must be known too.

Sources: the installed transformers' `modeling_*.py` of each family, and the leak test in `tests/model`.
"""

from __future__ import annotations

from dataclasses import dataclass

from saber.config import WriterKind


@dataclass(frozen=True)
class WriterRule:
    """One residual writer of a block.

    Attributes:
        kind: What the writer belongs to.
        module: Path of the module inside the block whose raw output is `W x`.
        parameter: Name of the parameter in that module.
        axis: Axis of the parameter that lies along d_model.
        norms: Post-norm modules between the raw output and the residual add, in order.
    """

    kind: WriterKind
    module: str
    parameter: str
    axis: int
    norms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """How a family's blocks are laid out.

    Attributes:
        writers: Rules in the order of the residual adds; a rule whose module a block lacks does not apply to it.
        readers: Names (dots included, no block prefix) that only read the stream or scale it as a whole.
        gain_offset: Effective gain of a norm is `gain_offset + weight` (1 for Gemma 1-3).
    """

    writers: tuple[WriterRule, ...]
    readers: frozenset[str]
    gain_offset: float = 0.0


_ATTENTION_READERS = (
    *(f"self_attn.{part}.{leaf}" for part in ("q_proj", "k_proj", "v_proj") for leaf in ("weight", "bias")),
    *(f"self_attn.{part}.weight" for part in ("q_norm", "k_norm", "v_norm")),
)
_MLP_READERS = tuple(f"mlp.{part}.{leaf}" for part in ("gate_proj", "up_proj") for leaf in ("weight", "bias"))

_PRE_NORM = Family(
    writers=(
        WriterRule("attention", "self_attn.o_proj", "weight", 0),
        WriterRule("mlp", "mlp.down_proj", "weight", 0),
    ),
    readers=frozenset(
        (*_ATTENTION_READERS, *_MLP_READERS, "input_layernorm.weight", "post_attention_layernorm.weight")
    ),
)
_SANDWICH_READERS = (
    *_ATTENTION_READERS,
    *_MLP_READERS,
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
    "pre_feedforward_layernorm.weight",
    "post_feedforward_layernorm.weight",
)
_SANDWICH_WRITERS = (
    WriterRule("attention", "self_attn.o_proj", "weight", 0, ("post_attention_layernorm",)),
    WriterRule("mlp", "mlp.down_proj", "weight", 0, ("post_feedforward_layernorm",)),
)
_GEMMA_2_3 = Family(_SANDWICH_WRITERS, frozenset(_SANDWICH_READERS), gain_offset=1.0)
_GEMMA_4_READERS = frozenset(
    (
        *_SANDWICH_READERS,
        "layer_scalar",
        "per_layer_input_gate.weight",
        "post_per_layer_input_norm.weight",
        "post_feedforward_layernorm_1.weight",
        "post_feedforward_layernorm_2.weight",
        "pre_feedforward_layernorm_2.weight",
        "router.proj.weight",
        "router.scale",
        "router.per_expert_scale",
        "experts.gate_up_proj",
    )
)
_GEMMA_4 = Family(
    writers=(
        *_SANDWICH_WRITERS,
        WriterRule("per_layer", "per_layer_projection", "weight", 0, ("post_per_layer_input_norm",)),
    ),
    readers=_GEMMA_4_READERS,
)
# Dense MLP and experts run in parallel and share the last norm: two norms in series act as the product of the gains.
_GEMMA_4_MOE = Family(
    writers=(
        _SANDWICH_WRITERS[0],
        WriterRule(
            "mlp",
            "mlp.down_proj",
            "weight",
            0,
            ("post_feedforward_layernorm_1", "post_feedforward_layernorm"),
        ),
        WriterRule(
            "experts",
            "experts",
            "down_proj",
            1,
            ("post_feedforward_layernorm_2", "post_feedforward_layernorm"),
        ),
        _GEMMA_4.writers[2],
    ),
    readers=_GEMMA_4_READERS,
)

FAMILIES: dict[str, Family] = {
    "llama": _PRE_NORM,
    "mistral": _PRE_NORM,
    "qwen2": _PRE_NORM,
    "qwen3": _PRE_NORM,
    "gemma2": _GEMMA_2_3,
    "gemma3_text": _GEMMA_2_3,
    "gemma4_text": _GEMMA_4,
    "gemma4_text+experts": _GEMMA_4_MOE,
}
"""Family by `config.get_text_config().model_type`; `+experts` where blocks hold fused experts."""
