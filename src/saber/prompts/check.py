"""Does an answer match the reference of a capability prompt?"""

import re
import unicodedata
from decimal import Decimal, InvalidOperation

from saber.prompts.prompt import Prompt, normalise

# A sign counts only where no operand stands before it ("10-3" ends in 3, "= -3" in -3); a digit inside
# a word ("H2O", "x1") is no number.
_NUMBER = re.compile(
    r"(?<![^\W_])(?<!\.)(?:(?<![\d)])[-+\u2212])?"
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
)
# Brackets and signs stay: they are part of an answer such as "[1, 2]" or "-3". So does a leading full stop.
_OPENING = " \t\n*`#>\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"
_CLOSING = _OPENING + ".,;:!?"


def score_answer(prompt: Prompt, answer: str) -> bool | None:
    """Compare an answer with the reference of its prompt; None when it could not be scored.

    Unscored are prompts without a reference, references that are not what their check needs (a `number`
    that is not one, a `regex` that does not compile) and checks that do not exist.

    Args:
        prompt: The prompt, with `answer` and `check`.
        answer: The model's answer, without its thinking part.

    Returns:
        Whether the answer is right, or None.
    """
    reference = prompt.answer
    if reference is None or not reference.strip():
        return None
    if prompt.check == "exact":
        return _exact(reference, answer)
    if prompt.check == "contains":
        return _contains(reference, answer)
    if prompt.check == "number":
        return _number(reference, answer)
    if prompt.check == "regex":
        return _regex(reference, answer)
    return None


def _exact(reference: str, answer: str) -> bool:
    wanted = _bare(reference)
    unfenced = "\n".join(line for line in answer.splitlines() if not line.strip().startswith("```"))
    first = next((line for line in unfenced.splitlines() if line.strip()), "")
    return wanted in {_bare(first), _bare(unfenced)}


def _bare(text: str) -> str:
    """Fold the text and take off surrounding quotes, markdown and closing punctuation."""
    folded = normalise(text)
    # A reference made of punctuation only ("!") must not become empty and match an empty answer.
    return folded.lstrip(_OPENING).rstrip(_CLOSING) or folded


def _contains(reference: str, answer: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(normalise(reference))}(?!\w)", normalise(answer)) is not None


def _number(reference: str, answer: str) -> bool | None:
    wanted = _numbers(reference)
    if len(wanted) != 1:
        return None
    found = _numbers(answer)
    return bool(found) and found[-1] == wanted[0]


def _numbers(text: str) -> list[Decimal]:
    numbers = []
    for match in _NUMBER.finditer(unicodedata.normalize("NFKC", text)):
        try:
            numbers.append(Decimal(match.group().replace(",", "").replace("\u2212", "-")))
        except InvalidOperation:  # digits of a script that Decimal does not know
            continue
    return numbers


def _regex(reference: str, answer: str) -> bool | None:
    try:
        return re.search(reference, answer, re.IGNORECASE) is not None
    except re.error:
        return None
