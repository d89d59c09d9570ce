"""The template is applied once, BOS appears once, and the tail is found without a table."""

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from saber.errors import ModelError
from saber.prompts import encode, render, template_tail

BODY = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if enable_thinking is defined and not enable_thinking %}"
    "<|think|><|/think|>{% endif %}{% endif %}"
)
WITH_BOS = "{{ bos_token }}" + BODY
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)
IGNORES_SYSTEM = "{% set messages = messages | selectattr('role', 'ne', 'system') | list %}"
SPECIAL = ["<s>", "<|user|>", "<|system|>", "<|assistant|>", "<|end|>", "<|think|>", "<|/think|>"]


def build(template, adds_bos=True):
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, "<unk>", *map(chr, range(32, 127))])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", unk_token="<unk>", additional_special_tokens=SPECIAL[1:]
    )
    tokenizer.chat_template = template
    return tokenizer


def test_render_applies_the_template_once():
    assert render(build(WITH_BOS), ["hi", "yo"], system="Be brief.") == [
        f"<s><|system|>Be brief.<|end|><|user|>{text}<|end|><|assistant|><|think|><|/think|>"
        for text in ("hi", "yo")
    ]


def test_an_empty_system_message_is_none():
    assert render(build(NO_SYSTEM + BODY), ["hi"], system="") == render(build(NO_SYSTEM + BODY), ["hi"])


@pytest.mark.parametrize(
    ("template", "adds_bos", "count"),
    [(WITH_BOS, True, 1), (WITH_BOS, False, 1), (BODY, True, 1), (BODY, False, 0)],
)
def test_bos_at_most_once(template, adds_bos, count):
    tokenizer = build(template, adds_bos)
    for ids in encode(tokenizer, ["hi", "a longer one"]):
        assert ids.count(tokenizer.bos_token_id) == count
        assert ids[: count + 1] == [tokenizer.bos_token_id] * count + [1]


def test_stubborn_tokenizer_does_not_double_bos():
    class Stubborn:
        bos_token_id = 0
        chat_template = "x"

        def apply_chat_template(self, conversation, **kwargs):
            return "S" + conversation[-1]["content"]

        def encode(self, text, *, add_special_tokens):
            return [0] + [0 if letter == "S" else ord(letter) for letter in text]

    assert encode(Stubborn(), ["hi"]) == [[0, ord("h"), ord("i")]]


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_tail_is_the_template_after_the_message(system):
    tokenizer = build(WITH_BOS)
    names = tokenizer.convert_ids_to_tokens(template_tail(tokenizer, system))
    assert names == ["<|end|>", "<|assistant|>", "<|think|>", "<|/think|>"]


def test_a_template_without_a_tail():
    assert template_tail(build("{{ messages[0]['content'] }}")) == []


ERRORS = {
    "no template": (None, None, "has no chat template", "instruct"),
    "no system role": (NO_SYSTEM + BODY, "Be brief.", "System role not supported", "without a system prompt"),
    "ignored system": (
        IGNORES_SYSTEM + BODY,
        "Be brief.",
        "leaves out the system message",
        "into the prompts",
    ),
    "broken": (
        "{{ raise_exception('never') }}",
        None,
        "cannot render a single user message: never",
        "another",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize("entry", [lambda t, s: encode(t, ["hi"], s), template_tail])
def test_errors(case, entry):
    template, system, message, hint = ERRORS[case]
    with pytest.raises(ModelError) as caught:
        entry(build(template), system)
    assert message in caught.value.message
    assert hint in caught.value.hint
