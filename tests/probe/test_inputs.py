"""Captured inputs are what the writers read, at tokens that may be read, whatever stands beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.zoo_folder import save

from saber.config import ModelConfig
from saber.errors import ProbeError
from saber.model.anatomy import Anatomy, residual_first
from saber.model.examine import examine
from saber.model.generate import Answer, tail_length
from saber.model.load import ChatModel, load
from saber.probe.inputs import WriterInputs, capture_inputs
from saber.prompts.prompt import Prompt
from saber.prompts.render import encode

TEXTS = ["Hi", "How do I bake bread at home?", "", "Why?", "Write a long poem about the sea and wind."]
PROMPTS = [Prompt(text, "harmful") for text in TEXTS]
ANSWERS = [Answer("", t, False) for t in ((40, 41, 42, 43, 44, 45), (50,), (), (60, 61, 1), (70, 71, 72, 73))]
END = 1
FAMILIES = ("llama", "gemma4", "gemma4_moe")


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> tuple[ChatModel, Anatomy]:
    chat = load(str(checkpoints[request.param]), ModelConfig(device="cpu"))
    return chat, examine(chat.model)


@pytest.fixture(scope="module")
def llama(checkpoints: dict[str, Path]) -> tuple[ChatModel, Anatomy]:
    chat = load(str(checkpoints["llama"]), ModelConfig(device="cpu"))
    return chat, examine(chat.model)


def tokens(chat: ChatModel, place: int) -> list[int]:
    """A prompt and its answer, without the end token."""
    prompt = encode(chat.tokenizer, [TEXTS[place]], chat.system)[0]
    return prompt + [token for token in ANSWERS[place].tokens if token != END]


def places(found: WriterInputs) -> list[tuple[int, int]]:
    return list(zip(found.prompt.tolist(), found.position.tolist(), strict=True))


def compare_with_outputs(chat: ChatModel, anatomy: Anatomy, found: WriterInputs) -> None:
    """Inputs times the weight are what each module puts out, one prompt at a time and so without padding."""
    writers = anatomy.named()
    outputs: dict[str, torch.Tensor] = {}
    handles = [
        chat.model.get_submodule(writers[name].module).register_forward_hook(
            lambda module, args, output, name=name: outputs.update({name: output.flatten(0, -2)})
        )
        for name in found.rows
    ]
    for place in range(len(TEXTS)):
        with torch.no_grad():
            chat.model(input_ids=torch.tensor([tokens(chat, place)]), use_cache=False)
        mine = found.prompt == place
        for name, rows in found.rows.items():
            weight = residual_first(chat.model.get_parameter(name), writers[name])
            expected = outputs[name][found.position[mine]]
            assert (rows[mine] @ weight.T - expected).abs().max() <= 1e-4 * max(1, expected.abs().max())
    for handle in handles:
        handle.remove()


def test_inputs_times_the_weight_are_the_raw_outputs(case: tuple[ChatModel, Anatomy]) -> None:
    chat, anatomy = case
    compare_with_outputs(
        chat, anatomy, capture_inputs(chat, anatomy, anatomy.writers, PROMPTS, answers=ANSWERS)
    )


def test_every_matrix_is_read_and_what_is_left_out_is_named(case: tuple[ChatModel, Anatomy]) -> None:
    chat, anatomy = case
    found = capture_inputs(chat, anatomy, anatomy.writers, PROMPTS)
    matrices = {w.name for w in anatomy.writers if w.form == "matrix"}
    assert set(found.rows) == matrices
    assert set(found.unread) == {w.name for w in anatomy.writers} - matrices
    assert all(found.unread.values())
    assert {len(rows) for rows in found.rows.values()} == {len(found.prompt)} == {len(found.position)}


def test_batching_order_and_padding_change_nothing(case: tuple[ChatModel, Anatomy]) -> None:
    chat, anatomy = case
    together = capture_inputs(
        chat, anatomy, anatomy.writers, PROMPTS, answers=ANSWERS, message_tokens=2, answer_tokens=1
    )
    alone = capture_inputs(
        replace(chat, batch_size=1),
        anatomy,
        anatomy.writers,
        PROMPTS,
        answers=ANSWERS,
        message_tokens=2,
        answer_tokens=1,
    )
    back = capture_inputs(
        replace(chat, batch_size=2),
        anatomy,
        anatomy.writers,
        PROMPTS[::-1],
        answers=ANSWERS[::-1],
        message_tokens=2,
        answer_tokens=1,
    )
    order = [places(back).index((len(TEXTS) - 1 - place, position)) for place, position in places(together)]
    assert places(alone) == places(together)
    assert sorted(order) == list(range(len(order)))
    for name, rows in together.rows.items():
        scale = max(1.0, float(rows.abs().max()))
        assert (alone.rows[name] - rows).abs().max() <= 1e-4 * scale
        assert (back.rows[name][order] - rows).abs().max() <= 1e-4 * scale


def test_the_tail_is_read_whole_and_the_rest_is_sampled(llama: tuple[ChatModel, Anatomy]) -> None:
    chat, anatomy = llama
    tail = tail_length(chat)
    head = len(encode(chat.tokenizer, [""])[0]) - tail
    found = capture_inputs(
        chat, anatomy, anatomy.of(0), PROMPTS, answers=ANSWERS, message_tokens=3, answer_tokens=2
    )
    assert len(set(places(found))) == len(found.prompt)
    for place, text in enumerate(TEXTS):
        read = found.position[found.prompt == place]
        message, answer = head + len(text), len(tokens(chat, place)) - head - len(text) - tail
        assert read[(read >= message) & (read < message + tail)].tolist() == list(
            range(message, message + tail)
        )
        assert int((read < message).sum()) == min(3, len(text))
        assert int((read >= message + tail).sum()) == min(2, answer)
        assert len(read) == tail + min(3, len(text)) + min(2, answer)
        assert int(read.min()) >= head > 0
        assert int(read.max()) < len(tokens(chat, place))  # so no end token
    other = capture_inputs(
        chat, anatomy, anatomy.of(0), PROMPTS, answers=ANSWERS, message_tokens=3, answer_tokens=2, seed=1
    )
    assert places(other) != places(found)


def test_without_answers_nothing_behind_the_template_is_read(llama: tuple[ChatModel, Anatomy]) -> None:
    chat, anatomy = llama
    found = capture_inputs(chat, anatomy, anatomy.of(0), PROMPTS, message_tokens=0)
    assert len(found.prompt) == len(TEXTS) * tail_length(chat)


@pytest.mark.parametrize("most", [7, 23, 40])
def test_a_bound_takes_from_all_prompts_alike(llama: tuple[ChatModel, Anatomy], most: int) -> None:
    chat, anatomy = llama
    whole = capture_inputs(chat, anatomy, anatomy.of(0), PROMPTS, answers=ANSWERS)
    found = capture_inputs(chat, anatomy, anatomy.of(0), PROMPTS, answers=ANSWERS, most_rows=most)
    assert len(found.prompt) == most < len(whole.prompt)
    assert set(places(found)) < set(places(whole))
    counts = torch.bincount(found.prompt, minlength=len(TEXTS))
    assert int(counts.max() - counts.min()) <= 1
    if most == 40:  # of what each prompt has, a sample: not its template alone
        behind = torch.tensor([len(encode(chat.tokenizer, [text])[0]) for text in TEXTS])[found.prompt]
        from_end = behind - found.position
        assert bool((from_end > tail_length(chat)).any())
        assert bool((from_end <= 0).any())
    back = capture_inputs(chat, anatomy, anatomy.of(0), PROMPTS[::-1], answers=ANSWERS[::-1], most_rows=most)
    assert {(len(TEXTS) - 1 - place, position) for place, position in places(back)} == set(places(found))


def test_first_positions_and_padding_cannot_leak(case: tuple[ChatModel, Anatomy]) -> None:
    chat, anatomy = case
    last = [w for w in anatomy.of(anatomy.n_layers - 1, ["mlp"]) if w.form == "matrix"][:1]
    clean = capture_inputs(chat, anatomy, last, PROMPTS, answers=ANSWERS, message_tokens=99, answer_tokens=99)
    lengths = torch.tensor(sorted(len(tokens(chat, place)) for place in range(len(TEXTS))))
    seen = []

    def poison(module: object, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        x = args[0].clone()
        padded = torch.arange(x.shape[1]) <= x.shape[1] - lengths[:, None]  # and the first position
        assert x.shape[0] == len(lengths)
        x[padded] = float("nan")
        seen.append(int(padded.sum()))
        return (x,)

    # Behind the last attention, so that what is poisoned there reaches no other position.
    handle = chat.model.get_submodule(last[0].module).register_forward_pre_hook(poison)
    found = capture_inputs(chat, anatomy, last, PROMPTS, answers=ANSWERS, message_tokens=99, answer_tokens=99)
    handle.remove()
    assert seen == [int((lengths.max() - lengths).sum()) + len(TEXTS)]
    assert torch.equal(found.rows[last[0].name], clean.rows[last[0].name])


@pytest.mark.parametrize("template", ["{{ messages[0]['content'] }}", "<bos>{{ messages[0]['content'] }}"])
def test_a_bare_template_still_keeps_its_first_token(
    checkpoints: dict[str, Path], template: str, llama: tuple[ChatModel, Anatomy]
) -> None:
    chat = load(str(checkpoints["llama"]), ModelConfig(device="cpu"))
    chat.tokenizer.chat_template = template
    found = capture_inputs(
        chat, llama[1], llama[1].of(0), [PROMPTS[1], Prompt("a", "harmful")], message_tokens=99
    )
    assert set(places(found)) == {
        (place, position)
        for place, text in enumerate((TEXTS[1], "a"))
        for position in range(1, len(text) + ("<bos>" in template))
    }


def test_what_is_not_finite_is_said(llama: tuple[ChatModel, Anatomy], checkpoints: dict[str, Path]) -> None:
    chat = load(str(checkpoints["llama"]), ModelConfig(device="cpu"))
    chat.model.get_parameter("model.layers.2.mlp.up_proj.weight").data[3] = float("inf")
    with pytest.raises(ProbeError, match=r"model\.layers\.2\.mlp\.down_proj.* not finite"):
        capture_inputs(chat, llama[1], llama[1].of(2, ["mlp"]), PROMPTS)


def test_blocks_that_put_all_tokens_into_one_row_are_read_the_same(tmp_path: Path) -> None:
    chat = load(str(save("qwen2_moe", tmp_path)), ModelConfig(device="cpu"))
    anatomy = examine(chat.model)
    shared = [w for w in anatomy.writers if "shared_expert" in w.module]
    shapes = []
    handle = chat.model.get_submodule(shared[0].module).register_forward_pre_hook(
        lambda module, args: shapes.append(args[0].ndim)
    )
    found = capture_inputs(chat, anatomy, anatomy.writers, PROMPTS, answers=ANSWERS)
    handle.remove()
    assert shapes == [2]
    assert {w.name for w in shared} < set(found.rows)
    assert {w.name for w in anatomy.writers if w.form == "experts"} < set(found.unread)
    compare_with_outputs(chat, anatomy, found)


def test_modules_without_one_input_a_token_are_named(checkpoints: dict[str, Path]) -> None:
    chat = load(str(checkpoints["llama"]), ModelConfig(device="cpu"))
    anatomy = examine(chat.model)
    chat.model.model.layers[1].mlp = chat.model.model.layers[0].mlp
    chat.model.aside = torch.nn.Linear(64, 64)
    (twice,) = anatomy.of(0, ["mlp"])
    (plain,) = anatomy.of(0, ["attention"])
    aside = replace(plain, name="aside.weight", module="aside")
    found = capture_inputs(chat, anatomy, [twice, plain, aside], PROMPTS)
    assert set(found.rows) == {plain.name}
    assert found.unread == {
        twice.name: "it writes more than once in one pass",
        aside.name: "its module is not called on text",
    }
