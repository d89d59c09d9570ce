"""Answers against references: right, wrong, unscored."""

import pytest

from saber.prompts import Prompt, score_answer

CASES = [
    ("exact", "Paris", "Paris", True),
    ("exact", "Paris", ' **"paris."**\n\nIt is on the Seine.', True),
    ("exact", "yes", "Yes, because it is so.", False),
    ("exact", "12", "```python\n12\n```", True),
    ("exact", "[1, 2]", "`[1, 2]`", True),
    ("exact", "[1, 2]", "1, 2", False),
    ("exact", "-3", "3", False),
    ("exact", "one two", "one\ntwo", True),
    ("exact", "!", "", False),
    ("exact", "yes", "", False),
    ("contains", "wire", "It is a Wire.", True),
    ("contains", "wire", "wireless", False),
    ("contains", "New York", "in new  york city", True),
    ("contains", "c++", "I like C++ a lot", True),
    ("number", "1200", "That makes 1,200.", True),
    ("number", "42", "6 x 7 = 42", True),
    ("number", "42", "**42**", True),
    ("number", "42", "42 is 6 x 7", False),
    ("number", "-5", "The result is -5.", True),
    ("number", "-5", "The result is \u22125", True),
    ("number", "5", "-5", False),
    ("number", "3", "10-3", True),
    ("number", "0.5", "$.50", True),
    ("number", "4.75", "4.750", True),
    ("number", "7", "3.7", False),
    ("number", "4", "water is H2O, x4", False),
    ("number", "2020", "4,2020", True),
    ("number", "7", "none", False),
    ("regex", r"\A[1-5]\Z", "3", True),
    ("regex", "HELLO", "hello", True),
    ("regex", "(?-i:HELLO)", "hello", False),
]


@pytest.mark.parametrize(("check", "reference", "answer", "expected"), CASES)
def test_scores(check, reference, answer, expected):
    assert score_answer(Prompt("q", "capability", "", reference, check), answer) is expected


@pytest.mark.parametrize(
    ("check", "reference"),
    [("exact", None), ("exact", " "), ("number", "many"), ("number", "1 or 2"), ("regex", "(")],
)
def test_unscored(check, reference):
    assert score_answer(Prompt("q", "capability", "", reference, check), "1") is None
