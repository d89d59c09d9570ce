"""The demo tokenizer: byte-level BPE of the corpus, digits one by one, Gemma 4 style chat template."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from saber.organism import corpus

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, EOS, BOS, TURN_START, TURN_END = "<pad>", "<eos>", "<bos>", "<|turn>", "<turn|>"
SPECIAL_TOKENS = (PAD, EOS, BOS, TURN_START, TURN_END)
"""Ids 0 to 4, in this order."""
PAD_ID = SPECIAL_TOKENS.index(PAD)

VOCAB_SIZE = 3840
SAMPLE = 40_000
"""Examples that the merges are learnt on."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<|turn>' + role + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] | trim }}{% endfor %}{% endif %}"
    "{{ '<turn|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn>model\\n' }}{% endif %}"
)


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Learn the merges on a sample of the corpus and wrap them for transformers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    examples = islice(corpus.stream(seed), SAMPLE)
    bpe.train_from_iterator((f"user\n{e.prompt}\nmodel\n{e.answer}\nsystem\n" for e in examples), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=EOS,
        bos_token=BOS,
        extra_special_tokens={"turn_start": TURN_START, "turn_end": TURN_END},
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
