"""What a rendered page and a rendered card are checked with."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Balance(HTMLParser):
    """Checks that every element is closed, and collects what an HTML page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.heads: list[dict[str, str | None]] = []
        self.levels: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.loaded += [value or "" for key, value in attrs if key in {"src", "srcset", "data", "action"}]
        if tag == "link":
            self.loaded.append(found.get("href") or "")
        if tag == "img":
            self.images.append(found)
        if tag == "th":
            self.heads.append(found)
        if re.fullmatch(r"h[1-6]", tag):
            self.levels.append(int(tag[1]))
        assert tag not in {"script", "iframe", "object", "embed"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(page: str) -> Balance:
    """The page is well formed, loads nothing, and its links lead somewhere."""
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert all(source.startswith("data:image/png;base64,") for source in parser.loaded)
    assert all(image["alt"] for image in parser.images)
    ids = set(re.findall(r'id="(\w+)"', page))
    assert set(re.findall(r'href="#(\w+)"', page)) == ids
    assert "http:" not in page
    assert "https:" not in page
    return parser


def check_tables(card: str) -> None:
    """Every Markdown table has as many cells in each row as in its head."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", card, flags=re.M)
    assert blocks
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


def row_of(card: str, head: str) -> str:
    """The first table row that starts with this cell."""
    return next(line for line in card.splitlines() if line.startswith(f"| {head} |"))
