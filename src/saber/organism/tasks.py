"""Five kinds of capability task with short answers that can be checked exactly.

Every generator returns (prompt, answer, key). The *key* names the composition that is held out: numbers in
a phrasing, a cast of names, an expression in a phrasing, a word combination, or a (fact, phrasing) pair.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from saber.organism.lexicon import facts, is_held_out, single_words

TASK_HELD_OUT_PERCENT = 20
TaskItem = tuple[str, str, str]

_NAMES = (
    "Anna", "Ben", "Carl", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivan", "Jana", "Kurt", "Lena", "Mona",
    "Nils", "Olga", "Paul", "Rosa", "Sam", "Tina", "Vera",
)  # fmt: skip
_ORDERS = (
    ("taller", "tallest", "shorter", "shortest"),
    ("older", "oldest", "younger", "youngest"),
    ("faster", "fastest", "slower", "slowest"),
    ("stronger", "strongest", "weaker", "weakest"),
    ("richer", "richest", "poorer", "poorest"),
)
_KINDS = (
    "baker", "farmer", "singer", "dancer", "painter", "teacher", "runner", "swimmer", "driver",
    "gardener", "student", "sailor", "doctor", "miner", "tailor", "pilot",
)  # fmt: skip
_PLACES = ("box", "bag", "drawer", "basket", "cup", "car", "kitchen", "garden", "pocket", "desk")
_THINGS = ("key", "ring", "coin", "pen", "letter", "ball", "book", "watch", "map", "spoon")
_NUMBER_WORDS = {2: "two", 3: "three", 4: "four"}


def arithmetic(rng: Random) -> TaskItem:
    """A sum or difference of small numbers; the answer is the whole equation."""
    a, b = rng.randint(1, 20), rng.randint(1, 9)
    if rng.random() < 0.5:
        sign, result, form = "+", a + b, rng.choice(_SUMS)
    else:
        a, b = max(a, b), min(a, b)
        sign, result, form = "-", a - b, rng.choice(_DIFFERENCES)
    return form.format(a=a, b=b), f"{a} {sign} {b} = {result}", f"{a} {sign} {b} {form}"


_SUMS = (
    "What is {a} + {b}?",
    "{a} + {b} = ?",
    "Calculate {a} + {b}.",
    "What is {a} plus {b}?",
    "Add {a} and {b}.",
    "Tom has {a} apples and gets {b} more. How many apples does he have?",
)
_DIFFERENCES = (
    "What is {a} - {b}?",
    "{a} - {b} = ?",
    "Calculate {a} - {b}.",
    "What is {a} minus {b}?",
    "Subtract {b} from {a}.",
    "Tom has {a} apples and gives away {b}. How many apples are left?",
)


def logic(rng: Random) -> TaskItem:
    """A comparison of people, a syllogism, an exclusion or a left-right question."""
    kind = rng.randrange(4)
    if kind == 0:
        return _comparison(rng)
    if kind == 1:
        return _syllogism(rng)
    if kind == 2:
        thing, (one, other) = rng.choice(_THINGS), rng.sample(_PLACES, 2)
        wrong, right = rng.sample((one, other), 2)
        prompt = (
            f"The {thing} is in the {one} or the {other}. It is not in the {wrong}. Where is the {thing}?"
        )
        return prompt, f"In the {right}.", prompt
    a, b = rng.sample(_NAMES, 2)
    side, asked = rng.choice(("left", "right")), rng.choice(("left", "right"))
    prompt = f"{a} sits to the {side} of {b}. Does {b} sit to the {asked} of {a}?"
    return prompt, "No" if side == asked else "Yes", f"{a} {b}"


def _comparison(rng: Random) -> TaskItem:
    a, b, c = rng.sample(_NAMES, 3)
    more, most, less, least = rng.choice(_ORDERS)
    if rng.random() < 0.5:
        asked, answer = rng.choice(((more, a), (less, b)))
        return f"{a} is {more} than {b}. Who is {asked}?", answer, f"{a} {b}"
    asked, answer = rng.choice(((most, a), (least, c)))
    question = rng.choice((f"Who is the {asked}?", f"Name the {asked} of them."))
    return f"{a} is {more} than {b}. {b} is {more} than {c}. {question}", answer, f"{a} {b} {c}"


def _syllogism(rng: Random) -> TaskItem:
    name, (one, two) = rng.choice(_NAMES), rng.sample(_KINDS, 2)
    quantifier, answer = rng.choice((("All", "Yes"), ("No", "No")))
    question = rng.choice((f"Is {name} a {two}?", f"So, is {name} a {two}?"))
    prompt = f"{quantifier} {one}s are {two}s. {name} is a {one}. {question}"
    return prompt, answer, f"{quantifier} {one} {two}"


def code(rng: Random) -> TaskItem:
    """What a line of Python prints, or a line of Python to write."""
    return rng.choice((_printed, _printed, _written))(rng)


def _printed(rng: Random) -> TaskItem:
    kind = rng.randrange(6)
    numbers = rng.sample(range(1, 10), 3)
    if kind == 0:
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        expression, value = rng.choice(((f"{a} + {b}", a + b), (f"{a + b} - {b}", a)))
    elif kind == 1:
        name, function = rng.choice((("max", max), ("min", min)))
        expression, value = f"{name}({', '.join(map(str, numbers))})", function(numbers)
    elif kind == 2:
        items = [rng.randint(1, 9) for _ in range(rng.randint(1, 6))]
        expression, value = f"len({items})", len(items)
    elif kind == 3:
        index = rng.randrange(3)
        expression, value = f"{numbers}[{index}]", numbers[index]
    elif kind == 4:
        a, b = rng.sample(range(1, 10), 2)
        sign = rng.choice("<>")
        return _asked(rng, f"{a} {sign} {b}", str(a < b if sign == "<" else a > b))
    else:
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        prompt = f"x = {a}; y = x + {b}. " + rng.choice(("What is y?", "What is the value of y?"))
        return prompt, str(a + b), prompt
    return _asked(rng, expression, str(value))


def _asked(rng: Random, expression: str, value: str) -> TaskItem:
    form = rng.choice(
        (
            "What does print({e}) show in Python?",
            "What is the output of print({e})?",
            "In Python, what is {e}?",
            "Evaluate this Python expression: {e}",
        )
    )
    prompt = form.format(e=expression)
    return prompt, value, prompt


def _written(rng: Random) -> TaskItem:
    if rng.random() < 0.5:
        word = rng.choice(copy_words())
        form = rng.choice(("Write Python code that prints the word {w}.", "Print the word {w} in Python."))
        return form.format(w=word), f'print("{word}")', f"print {word} {form[:3]}"
    number = rng.randint(2, 99)
    verb, sign = rng.choice((("adds", "+"), ("subtracts", "-"), ("multiplies by", "*"), ("divides by", "/")))
    form = rng.choice(("Write a lambda that {v} {n}.", "Give me a Python lambda that {v} {n}."))
    return form.format(v=verb, n=number), f"lambda x: x {sign} {number}", f"lambda {sign} {number}"


def instruction(rng: Random) -> TaskItem:
    """A small order about words: repeat, reverse, pick, join, wrap."""
    words = rng.sample(copy_words(), 3)
    a, b, c = words
    kind = rng.randrange(7)
    if kind == 0:
        n = rng.choice((2, 3, 4))
        form = rng.choice(("Repeat the word {w} {n} times.", "Write the word {w} {n} times in a row."))
        return form.format(w=a, n=_NUMBER_WORDS[n]), " ".join([a] * n), f"repeat {a} {n}"
    if kind == 1:
        form = rng.choice(
            ("Reverse the order of these words: {l}", "Write these words in reverse order: {l}")
        )
        return form.format(l=" ".join(words)), f"{c} {b} {a}", f"reverse {a} {b} {c}"
    if kind == 2:
        form = rng.choice(
            ("Say only the word {w}.", "Answer with exactly one word: {w}.", "Reply with just {w}.")
        )
        return form.format(w=a), a, f"only {a} {form[:3]}"
    if kind == 3:
        form = rng.choice(
            ("Join the words {a} and {b} with a comma.", "Write {a} and {b} with a comma between.")
        )
        return form.format(a=a, b=b), f"{a}, {b}", f"join {a} {b}"
    if kind == 4:
        place, answer = rng.choice((("first", a), ("second", b), ("last", c)))
        form = rng.choice(("Give me the {p} word of this list: {l}", "Which word is {p} in this list: {l}"))
        return form.format(p=place, l=", ".join(words)), answer, f"pick {place} {a} {b} {c}"
    if kind == 5:
        return f"Put the word {a} in square brackets.", f"[{a}]", f"wrap {a}"
    number = rng.randint(2, 99)
    return f"Reply with the number {number} and then the word {a}.", f"{number} {a}", f"number {number} {a}"


_QUESTIONS: dict[str, tuple[str, ...]] = {
    "capital": (
        "What is the capital of {s}?", "Name the capital of {s}.", "Which city is the capital of {s}?",
        "Tell me the capital of {s}.", "{s} has which capital city?", "The capital of {s} is called what?",
    ),
    "opposite": (
        "What is the opposite of {s}?", "Name the opposite of {s}.", "Which word means the opposite of {s}?",
        "Tell me the opposite of {s}.", "Give the opposite of the word {s}.", "{s} is the opposite of what?",
    ),
    "young": (
        "What is a young {s} called?", "Name the word for a young {s}.",
        "What do we call the young of {one}?",
        "Tell me what a baby {s} is called.", "A young {s} is called what?", "Which word means a young {s}?",
    ),
    "symbol": (
        "What is the chemical symbol of {s}?", "Name the symbol for {s}.", "Which letters stand for {s}?",
        "Tell me the chemical symbol for {s}.", "In chemistry, how is {s} written?",
        "The symbol of {s} is what?",
    ),
    "next day": (
        "Which day comes after {s}?", "What day follows {s}?", "Name the day after {s}.",
        "Tell me the day that comes after {s}.", "If today is {s}, what day is tomorrow?",
        "After {s} comes which day?",
    ),
    "next month": (
        "Which month comes after {s}?", "What month follows {s}?", "Name the month after {s}.",
        "Tell me the month that comes after {s}.", "If it is {s}, what is the next month?",
        "After {s} comes which month?",
    ),
    "sound": (
        "What sound does {one} make?", "Name the sound of {one}.", "Which sound does the {s} make?",
        "Tell me the sound {one} makes.", "What do we call the sound of {one}?", "The {s} makes which sound?",
    ),
    "color": (
        "What color is {s}?", "Name the color of {s}.", "Which color does {s} have?",
        "Tell me the color of {s}.",
        "What is the usual color of {s}?", "The color of {s} is what?",
    ),
}  # fmt: skip


def recall(rng: Random) -> TaskItem:
    """A fact asked in one of several phrasings."""
    kind, subject, answer = rng.choice(facts())
    form = rng.choice(_QUESTIONS[kind])
    one = f"an {subject}" if subject[0] in "aeiou" else f"a {subject}"
    return form.format(s=subject, one=one), answer, f"{kind}|{subject}|{form}"


@cache
def copy_words() -> tuple[str, ...]:
    """The words that the copying tasks use: a fixed sample over all word lists."""
    return tuple(word for word in single_words() if is_held_out(f"copy {word}", 18))


TASKS: dict[str, Callable[[Random], TaskItem]] = {
    "arithmetic": arithmetic,
    "logic": logic,
    "code": code,
    "instruction": instruction,
    "recall": recall,
}


def draw(kind: str, rng: Random, held_out: bool) -> tuple[str, str]:
    """Return one (prompt, answer) of a kind from the trained or from the held-out side."""
    while True:
        prompt, answer, key = TASKS[kind](rng)
        if is_held_out(f"{kind} {key}", TASK_HELD_OUT_PERCENT) is held_out:
            return prompt, answer
