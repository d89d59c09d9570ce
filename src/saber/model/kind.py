"""What sort of model a checkpoint is: the class that loads all of it, or why SABER has no use for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saber.config import ModelConfig
from saber.errors import ModelError

_HEADS = {
    "ForSequenceClassification": "scores or classifies texts",
    "RewardModel": "scores texts",
    "ForRewardModel": "scores texts",
    "ForTokenClassification": "labels tokens",
    "ForQuestionAnswering": "marks answers in a text",
    "ForMultipleChoice": "chooses among answers",
    "ForMaskedLM": "is an encoder that fills gaps",
    "ForTextEncoding": "is an encoder",
    "ForImageClassification": "looks at images only",
    "ForObjectDetection": "looks at images only",
    "ForSemanticSegmentation": "looks at images only",
    "ForCTC": "transcribes speech",
    "ForSpeechSeq2Seq": "transcribes speech",
    "ForAudioClassification": "listens to sound only",
}
"""What architectures do that do not write answers, by the end of their names."""
_NOT_A_DECODER = "SABER edits decoders that write answers: use the chat or instruct model of the family."
_AUTO = ("AutoModelForImageTextToText", "AutoModelForMultimodalLM", "AutoModelForCausalLM")
"""Where a class is looked up; whole multimodal models before their text part alone, which would drop the towers."""


def check_kind(raw: Mapping[str, Any], name: str, config: ModelConfig) -> None:
    """Refuse what a config says is no decoder, or what would have to run its own code unasked.

    Args:
        raw: Contents of config.json.
        name: What the user typed.
        config: How it is to be loaded.

    Raises:
        ModelError: See above.
    """
    named = architecture(raw)
    what = next((what for end, what in _HEADS.items() if named.endswith(end)), None)
    if what:
        raise ModelError(f"{name} is a {named}, which {what}", hint=_NOT_A_DECODER)
    if raw.get("is_encoder_decoder"):
        raise _encoder_decoder(name, named)
    if remote_code(raw) and not config.trust_remote_code and not _is_native(raw):
        raise ModelError(
            f"{name}: the checkpoint wants to run its own Python code, and transformers has no code for "
            f"{raw.get('model_type', 'it')!r}",
            hint="Read that code first; then allow it with --set model.trust_remote_code=true.",
        )


def remote_code(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Python files that a checkpoint brings along for its model."""
    found = raw.get("auto_map") or {}
    classes = [each for value in found.values() for each in (value if isinstance(value, list) else [value])]
    files = (str(each).rpartition("--")[2].rpartition(".")[0] for each in classes if each)
    return tuple(dict.fromkeys(f"{file}.py" for file in files if file))


def auto_class(loaded: Any, raw: Mapping[str, Any], name: str) -> Any:
    """The auto class that loads a checkpoint as what it is.

    The class that the config names; a config that names none is loaded with all its towers.

    Args:
        loaded: The config as transformers reads it.
        raw: Contents of config.json.
        name: What the user typed.

    Raises:
        ModelError: The checkpoint is no decoder, or transformers has none for its config.
    """
    import transformers

    named = architecture(raw)
    if getattr(loaded, "is_encoder_decoder", False):
        raise _encoder_decoder(name, named)
    ours = raw.get("auto_map") or {}
    own = next((auto for auto in reversed(_AUTO) if auto in ours), None)
    if own and (not _is_native(raw) or type(loaded).__module__.startswith("transformers_modules")):
        return getattr(transformers, own)
    found = {auto: _classes(auto, str(loaded.model_type)) for auto in _AUTO}
    chosen = next((auto for auto, classes in found.items() if named in classes), None)
    if chosen is None and hasattr(transformers, named) and not getattr(transformers, named).can_generate():
        raise ModelError(f"{name} is a {named}, which does not write answers", hint=_NOT_A_DECODER)
    chosen = chosen or next((auto for auto, classes in found.items() if classes), None)
    if chosen is None:
        raise ModelError(
            f"{name}: transformers has no decoder for {loaded.model_type!r} ({named or type(loaded).__name__})",
            hint=_NOT_A_DECODER,
        )
    _refuse_encoder(loaded, name, named)
    return getattr(transformers, chosen)


def architecture(raw: Mapping[str, Any]) -> str:
    """The class that a config names first; empty if it names none."""
    named = raw.get("architectures") or [""]
    return str(named[0])


def _encoder_decoder(name: str, named: str) -> ModelError:
    return ModelError(
        f"{name} is an encoder-decoder ({named or 'its config says so'}): what it reads and what it writes are "
        "separate streams",
        hint=_NOT_A_DECODER,
    )


def _refuse_encoder(loaded: Any, name: str, named: str) -> None:
    """BERT and its like have a decoder class too, which their checkpoints are not meant for unless they say so."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if (
        loaded.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        and getattr(loaded, "is_decoder", True) is False
    ):
        raise ModelError(f"{name} is an encoder ({named or loaded.model_type})", hint=_NOT_A_DECODER)


def _is_native(raw: Mapping[str, Any]) -> bool:
    """Whether transformers has its own code for a config."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return raw.get("model_type") in CONFIG_MAPPING_NAMES


def _classes(auto: str, model_type: str) -> tuple[str, ...]:
    from transformers.models.auto import modeling_auto

    tables: dict[str, Mapping[str, Any]] = {
        "AutoModelForCausalLM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "AutoModelForImageTextToText": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        "AutoModelForMultimodalLM": modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    }
    found = tables[auto].get(model_type, ())
    return (found,) if isinstance(found, str) else tuple(found)
