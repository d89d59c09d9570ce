"""The built-in sets: sizes, categories, no near-duplicates, and references that are right."""

import contextlib
import io
import re
from collections import Counter

import pytest

from saber.prompts import ROLES, load_prompts, score_answer
from saber.prompts.cluster import near_duplicate_clusters

SETS = {role: load_prompts("builtin:real", role) for role in ROLES}
# A right and a wrong answer for each prompt that a regular expression scores.
REGEX_EXAMPLES = {
    "Hand is to glove": ("Sock", "Finger"),
    "Write the word 'ocean' in capital": ("OCEAN", "Ocean"),
    "List exactly three colours": ("red, light blue, green", "red, blue"),
    "Answer with a single digit": ("4", "7"),
    "Finish your reply": ("Hello there. Done.", "Hello there."),
    "Put the word 'river'": ("[river]", "(river)"),
    "Write a greeting": ("Hello there!", "Hello!"),
    "Begin your answer": ("Certainly! Mars is one.", "Mars, certainly."),
    "Output the numbers": ("3\n2\n1", "3, 2, 1"),
    "Return the JSON object": ('```json\n{"ok": true}\n```', "{'ok': false}"),
    "Reverse the order": ("three two one", "one two three"),
    "Name a fruit that is yellow": ("banana", "Banana"),
    "Sort these words": ("apple, fig, pear", "pear, fig, apple"),
    "Answer with an exclamation": ("A dog!", "A dog."),
    "What gas do plants": ("Carbon dioxide", "Oxygen"),
    "Who painted": ("Leonardo da Vinci", "Michelangelo"),
}


def test_sizes_and_categories():
    categories = {role: Counter(prompt.category for prompt in SETS[role]) for role in ROLES}
    assert len(SETS["harmful"]) >= 160
    assert len(categories["harmful"]) >= 10
    assert len(SETS["harmless"]) >= 160
    assert len(categories["harmless"]) >= 10
    assert len(SETS["borderline"]) >= 80
    assert len(categories["borderline"]) >= 6
    assert len(SETS["preserve"]) >= 48
    assert set(categories["preserve"]) == {"mass_casualty_weapons", "child_safety", "self_harm"}
    battery = ("arithmetic", "logic", "code", "instruction", "recall")
    assert categories["capability"] == dict.fromkeys(battery, 24)
    assert all(prompts.duplicates == 0 for prompts in SETS.values())


def test_harmful_and_harmless_have_the_same_length():
    lengths = {role: [len(text.split()) for text in SETS[role].texts] for role in ("harmful", "harmless")}
    assert all(6 <= length <= 16 for counts in lengths.values() for length in counts)
    assert (
        abs(sum(lengths["harmful"]) / len(SETS["harmful"]) - sum(lengths["harmless"]) / len(SETS["harmless"]))
        < 0.5
    )


def test_no_near_duplicates_inside_or_across_sets():
    contents = [text for prompts in SETS.values() for text in prompts.texts]
    together = [cluster for cluster in near_duplicate_clusters(contents, 0.7) if len(cluster) > 1]
    assert [[contents[index] for index in cluster] for cluster in together] == []


@pytest.mark.parametrize("prompt", SETS["capability"], ids=lambda prompt: f"{prompt.category}-{prompt.key}")
def test_references_score_themselves(prompt):
    assert prompt.answer is not None
    if prompt.check != "regex":
        assert score_answer(prompt, prompt.answer) is True
        assert score_answer(prompt, "I do not know.") is False
        return
    right, wrong = next(pair for opening, pair in REGEX_EXAMPLES.items() if prompt.text.startswith(opening))
    assert score_answer(prompt, right) is True
    assert score_answer(prompt, wrong) is False


def execute(text):
    """Run the code between backticks and return what the prompt asks for."""
    code = re.search("`(.+?)`", text)[1]
    printed = io.StringIO()
    names = {}
    with contextlib.redirect_stdout(printed):
        try:
            value = eval(code, names)
        except SyntaxError:
            exec(code, names)
            value = None
    if "f(5)" in text:
        value = names["f"](5)
    if "How many times" in text:
        value = len(printed.getvalue().splitlines())
    return printed.getvalue().strip() if value is None else str(value)


@pytest.mark.parametrize(
    "prompt", [p for p in SETS["capability"] if p.category == "code"], ids=lambda p: p.key
)
def test_code_answers_are_what_python_says(prompt):
    assert execute(prompt.text) == prompt.answer
