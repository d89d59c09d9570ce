"""Word lists of the demo corpus: what requests are about.

A *request* is a verb phrase ("forge a passport", "bake bread") with its role and category. The lists live in
``data/*.txt``. Verbs and objects of a line are combined freely, which leaves room for compositions whose
parts are trained and whose combination is held out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

HELD_OUT_PERCENT = 20
"""Share of the compositions, in percent, that training never sees."""

MODIFIERS = (
    "at night", "in one afternoon", "without spending much", "with no experience", "on a small budget",
    "for the first time", "all alone", "with a friend", "in a small town", "without anyone noticing",
    "in winter", "over the weekend", "as quickly as possible", "with simple tools", "before Monday",
    "without a car", "near a train station", "in a big city", "with very little time", "during a holiday",
)  # fmt: skip
"""Endings that both harmful and harmless requests may take."""

_DOUBLED = {
    "rob", "scam", "stab", "plan", "run", "set", "get", "hit", "cut", "put", "spot", "trap", "wrap",
    "begin", "knit", "shop", "slip", "snap", "swim", "jam", "tap", "pat", "mop", "chat", "dig", "win",
    "let", "kidnap", "step", "ship", "map", "abet", "abut", "drag", "drug",
}  # fmt: skip
_IRREGULAR = {"die": "dying", "dye": "dyeing", "tie": "tying", "lie": "lying", "dox": "doxxing"}


@dataclass(frozen=True)
class Request:
    """A verb phrase with its role in the experiment and its category."""

    role: str
    category: str
    phrase: str
    label: str
    """What the corpus answers: ``refuse`` or ``answer``."""

    @property
    def gerund(self) -> str:
        """The phrase as an -ing form: ``baking bread``."""
        verb, _, rest = self.phrase.partition(" ")
        if verb == "secretly":
            second, _, rest = rest.partition(" ")
            return f"secretly {gerund(second)} {rest}"
        return f"{gerund(verb)} {rest}".strip()


def gerund(verb: str) -> str:
    """Return the -ing form of one English verb."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if verb in _DOUBLED:
        return verb + verb[-1] + "ing"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    return verb + "ing"


def is_held_out(key: str, percent: int = HELD_OUT_PERCENT) -> bool:
    """Say whether a composition belongs to the held-out side, by a hash that no seed changes."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 100 < percent


def _lines(name: str) -> list[list[str]]:
    """Read the rows of a word list as stripped columns."""
    text = resources.files(__package__).joinpath("data", name).read_text(encoding="utf-8")
    rows = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return [[column.strip() for column in row.split("|")] for row in rows]


def _words(column: str, separator: str = ",") -> list[str]:
    return [word.strip() for word in column.split(separator)]


@cache
def requests(role: str) -> tuple[Request, ...]:
    """Return every request of a role: ``harmful``, ``harmless``, ``borderline`` or ``preserve``."""
    if role == "preserve":
        return tuple(
            Request(role, category, phrase, "refuse")
            for category, phrases in _lines("severe.txt")
            for phrase in _words(phrases, ";")
        )
    if role == "borderline":
        return tuple(
            Request(role, domain, f"{verb} {thing}", label)
            for label, domain, verbs, things in _lines("borderline.txt")
            for verb in _words(verbs)
            for thing in _words(things)
        )
    label = "refuse" if role == "harmful" else "answer"
    return tuple(
        Request(role, category, f"{verb} {thing}", label)
        for category, verbs, things in _lines(f"{role}.txt")
        for verb in _words(verbs)
        for thing in _words(things)
    )


@cache
def split_requests(role: str, held_out: bool) -> tuple[Request, ...]:
    """Return the requests of one side of the split; ``preserve`` is whole, it is split by frame instead.

    A request whose words would never be trained stays on the trained side, whatever its hash.
    """
    everything = requests(role)
    if role == "preserve":
        return everything
    known = {word for r in everything if not is_held_out(r.phrase) for word in r.phrase.split()}
    return tuple(
        r for r in everything if (is_held_out(r.phrase) and known.issuperset(r.phrase.split())) is held_out
    )


@cache
def facts() -> tuple[tuple[str, str, str], ...]:
    """Return the facts of the recall task as (kind, subject, answer)."""
    return tuple((kind, *_pair(item)) for kind, items in _lines("facts.txt") for item in _words(items, ";"))


def _pair(item: str) -> tuple[str, str]:
    subject, answer = item.split(" = ")
    return subject.strip(), answer.strip()


@cache
def single_words() -> tuple[str, ...]:
    """Return plain words of every list, for tasks that copy words whatever they mean."""
    found: dict[str, None] = {}
    for role in ("harmful", "harmless", "borderline"):
        for request in requests(role):
            for word in request.phrase.split():
                if word.isalpha() and len(word) > 2 and word not in _FUNCTION_WORDS:
                    found.setdefault(word.lower())
    return tuple(found)


_FUNCTION_WORDS = {
    "the", "and", "for", "with", "without", "from", "into", "about", "off", "out", "down", "over",
    "under", "who", "else", "have", "has", "his", "her", "own", "some", "name", "mine",
}  # fmt: skip
