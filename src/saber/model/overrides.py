"""What discovery cannot see, as data: reasons for leaks that no weight edit removes, and embedders of other inputs."""

from __future__ import annotations

_CONVOLUTION = "a depthwise convolution stands behind every writer: each coordinate mixes tokens its own way"
_SINES = "sinusoidal positions are a buffer, not a parameter"

INTRINSIC: dict[str, str] = {
    "ctrl": _SINES,
    "doge": "each block multiplies the stream by vectors (input_residual, post_attention_residual)",
    "gemma3n_text": "Laurel adds input_layernorm(h), the normed stream itself: diag(gain) h is no weight's output",
    "hrm_text": "two stacks of blocks run in turns on sums of their streams; only one is the chain",
    "inkling2_text": _CONVOLUTION,
    "inkling_text": _CONVOLUTION,
    "longcat_flash": "identity experts add the normed stream itself: diag(gain) h is no weight's output",
    "minimax": "the residual is the normed stream: gain * h is no weight's output",
    "rwkv": "the first block norms the stream itself, and a vector gate follows feed_forward.value",
    "xglm": _SINES,
    "zaya": "each block multiplies the stream by vectors (residual_scale)",
}
"""By `model_type` of the text config: the path into the stream that is no parameter's output."""

SOFT_TOKENS: dict[str, tuple[tuple[str, int], ...]] = {
    "gemma3": (("multi_modal_projector.mm_input_projection_weight", 1),),
    "gemma3n": (
        ("embed_vision.embedding_projection.weight", 0),
        ("embed_audio.embedding_projection.weight", 0),
    ),
    "gemma4": (
        ("embed_vision.embedding_projection.weight", 0),
        ("embed_audio.embedding_projection.weight", 0),
    ),
}
"""By `model_type`: (end of the parameter's name, axis along d_model) of what writes at image, video or sound tokens.
A pass over text never runs them."""
