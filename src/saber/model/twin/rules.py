"""How wide a twin is, as data: tables from config keys to small sizes.

The first row whose pattern matches a whole key decides. Sizes are chosen so that, where a class leaves the choice, an
axis of length `D_MODEL` is the residual stream and nothing else: 4 heads of 24 make 96, not 64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

D_MODEL = 64
"""Width of a twin's residual stream."""
TOWER = 48
"""Width of the streams inside vision and audio towers; neither it nor a power of two of it is `D_MODEL`."""
VOCABULARY = 320
"""Largest number of token ids."""
LOW_IDS = 16
"""Token ids below this stay as they are: some classes count positions from the padding id."""

Mode = Literal["keep", "cap", "set", "stream", "heads", "kv", "tokens"]
"""What a rule does with an integer.

keep: leaves it; cap: at most the size; set: the size, whatever it was; stream: the residual width if it was the
residual width, else capped; heads: the size, or 1 and 2 as they are; kv: as `heads`, keeping the relation to the number
of query heads (equal, one, or groups); tokens: an id, renumbered into the small vocabulary.
"""


@dataclass(frozen=True)
class Rule:
    """What becomes of the integers under one kind of key.

    Attributes:
        pattern: Regular expression for the whole key, without leading underscores.
        mode: How the size applies.
        text: Size in a decoder.
        tower: Size in a vision or audio tower; None where it is the same.
    """

    pattern: str
    mode: Mode
    text: int = 0
    tower: int | None = None


_TOKEN_IDS = r"(.*_)?token_(id|ids|index|idx)|(im|image|slice|newline|unk|mask)(_\w+)?_(id|index)|newline_id"
_GEOMETRY = r"(.*_)?(patch|image|img|kernel|merge|crop|grid|stride|tile|group|input_feat|feature)_sizes?"
_STREAMS = r"hidden_size|n_embe?d|d_model|dim_model|model_dim|dim|embed_dim|emb_dim|embedding_dim"
_FEED_FORWARD = r"(.*_)?(intermediate|ffn|ff|feed_forward|mlp|inner)_?(hidden_)?(size|dim)"
_LENGTHS = (
    r"(.*_)?max_(.*_)?(positions?(_embeddings)?|length)|n_positions|n_ctx|(max_)?seq_len(gth)?|context_length"
)
_WINDOWS = r"(.*_)?(sliding_window|window_size|window_len)(_size)?|attention_chunk_size|local_attention"

RULES: tuple[Rule, ...] = (
    Rule(_TOKEN_IDS, "tokens"),
    Rule(r"type_vocab_size|chunk_size_feed_forward|image_seq_length|num_patches", "keep"),
    Rule(_GEOMETRY, "keep"),
    # Vocabularies, and the tables of codes and n-grams that stand in for one.
    Rule(r"(.*_)?vocab(_size)?(_.*)?|num_embeddings|codebook_size", "cap", VOCABULARY),
    # The stream, and where a tower meets it.
    Rule(_STREAMS, "set", D_MODEL, TOWER),
    Rule(r"(out|output|text|backbone|projector_output)_(hidden_size|dim)|projection_dim", "set", D_MODEL),
    Rule(r"adapter_out_dim", "set", D_MODEL),
    Rule(r"(encoder|vision)_hidden_size|vision_output_dim", "set", TOWER),
    # Heads.
    Rule(r"(.*_)?(key_value|kv)_heads|kv_n_heads|linear_num_key_heads|multi_query_group_num", "kv", 4, 2),
    Rule(r"(.*_)?(attention|query|value|mamba|n|num)_heads?(_per_layer)?", "heads", 4, 2),
    Rule(r"qk_rope_head_dim|rotary_dim|linear_key_head_dim", "cap", 8),
    Rule(r"qk_nope_head_dim|linear_value_head_dim", "cap", 12),
    Rule(r"v_head_dim", "cap", 14),
    Rule(r"(.*_)?(head_dim|dim_head|head_size|headdim|d_head|kv_channels)|d_kv", "cap", 24),
    # Experts: two groups of two, so that grouped routing has something to choose from.
    Rule(r"(.*_)?shared_experts|zero_expert_num|n_group|num_expert_group", "cap", 2),
    Rule(r"(num|n)_experts_per_tok(en)?|moe_top_?k|moe_k|top_k_experts", "cap", 2),
    Rule(r"(.*_)?experts?|moe_num_experts", "cap", 4),
    Rule(r"topk_group", "cap", 1),
    Rule(r"index_topk(_blocks)?|indexer_budget", "cap", 8),
    Rule(r"indexer_compress_ratio", "cap", 4),
    # Feed-forward widths, apart from one another; 2 x 32 would be the stream's width again.
    Rule(r"(.*_)?shared?_(.*_)?(intermediate_size|dim)", "cap", 56),
    Rule(r"(.*_)?(moe|expert)_(.*_)?(intermediate_size|hidden_size)", "cap", 40),
    Rule(r"moe_latent_size", "cap", 28),
    Rule(r"intermediate_size_mlp|(.*_)?dense_intermediate_size", "cap", 120),
    Rule(rf"{_FEED_FORWARD}|n_inner|d_ff|dff|d_inner|dim_ff", "cap", 112, 56),
    # State-space, recurrent and low-rank widths.
    Rule(r"(.*_)?(state_size|d_state)", "cap", 8),
    Rule(r"(.*_)?(dt|time_step)_rank", "cap", 4),
    Rule(r"(.*_)?n_?groups", "cap", 2),
    Rule(r"mamba_d_ssm", "cap", 80),
    Rule(r"q_lora_rank", "cap", 12),
    Rule(r"(.*_)?rank|hc_lowrank", "cap", 10),
    Rule(r"hidden_size_per_layer_input", "cap", 8),
    Rule(r"d_rel", "cap", 12),  # Inkling: times 4 heads it must not make 64
    Rule(r"base_channels", "cap", 32),  # image tokenizers normalise in 32 groups
    Rule(r"(.*_)?latents|latent_query_num|pos_emb_height", "cap", 8),
    # Lengths.
    Rule(_LENGTHS, "cap", 128),
    Rule(_WINDOWS, "cap", 8),
    Rule(r"(.*_)?chunk_(size|length)", "cap", 16),
    # Depth and pattern make the parameters' names, so they stay; `.*_dim` below must not see them.
    Rule(r"(.*_)?layers?(_.*)?|.*_layers?_.*", "keep"),
    # Whatever else sounds like a width: unknown families come here.
    Rule(r".*(sizes?|dims?|width|channels?|features|hidden)", "stream", 48, 16),
)

HEADS_OF: Mapping[str, str] = {
    "num_key_value_heads": "num_attention_heads",
    "num_kv_heads": "num_attention_heads",
    "swa_num_key_value_heads": "swa_num_attention_heads",
    "n_kv_heads": "n_heads",
    "linear_num_key_heads": "linear_num_value_heads",
    "multi_query_group_num": "num_attention_heads",
}
"""Which number of query heads a number of key heads belongs to."""

TOWERS = r"(.*_)?(vision|visual|vit|image|video|audio|speech|qformer|perceiver|vq|sam|clip|siglip|protein|dit)(_.*)?"
"""Keys of sub-configs off the decoder's stream."""

Values = Mapping[str, Any]
Relation = Callable[[Values], int]

RELATIONS: tuple[tuple[str, Relation], ...] = (
    # Latent attention: most classes give the rotary part's width the name that their rotary embedding reads.
    ("qk_head_dim", lambda v: v["qk_nope_head_dim"] + v["qk_rope_head_dim"]),
    ("head_dim", lambda v: v["qk_nope_head_dim"] + v["qk_rope_head_dim"]),
    ("head_dim", lambda v: v["qk_rope_head_dim"]),
    # State-space heads tile the inner width.
    ("mamba_d_head", lambda v: v["mamba_d_ssm"] // v["mamba_n_heads"]),
    ("mamba_d_head", lambda v: v["mamba_expand"] * v["hidden_size"] // v["mamba_n_heads"]),
    ("mamba_headdim", lambda v: v["mamba_expand"] * v["hidden_size"] // v["n_mamba_heads"]),
    ("head_dim", lambda v: v["expand"] * v["hidden_size"] // v["num_heads"]),
    ("intermediate_size", lambda v: v["expand"] * v["hidden_size"]),
    # Zamba's shared attention reads the stream beside the embeddings; RWKV's width is the stream's.
    ("attention_hidden_size", lambda v: 2 * v["hidden_size"]),
    ("attention_hidden_size", lambda v: v["hidden_size"]),
    ("attention_head_dim", lambda v: v["attention_hidden_size"] // v["num_attention_heads"]),
    ("hidden_size_global", lambda v: v["cross_attn_k"] * v["hidden_size"]),
)
"""(key, what it equals): a relation that holds in the real config holds in the twin; the first that does counts."""
