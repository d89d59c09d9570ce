"""docs/architectures.md says what discovery finds."""

from __future__ import annotations

import pytest

from saber.model.discovery import discover, leak_test
from tests import zoo
from tests.zoo import page


@pytest.fixture(scope="module")
def rows() -> dict[str, str]:
    return dict(page.rows_of_page(page.PAGE.read_text(encoding="utf-8")))


def test_the_page_holds_every_architecture_of_the_zoo(rows: dict[str, str]) -> None:
    assert list(rows) == list(zoo.ZOO)


@pytest.mark.parametrize(
    "name", ["llama", "gemma2", "gemma3n", "gpt_oss", "gemma4_moe", "gpt2", "bloom", "lfm2"]
)
def test_a_line_of_the_page_is_what_is_found(name: str, rows: dict[str, str]) -> None:
    architecture = zoo.ZOO[name]
    model, inputs = zoo.build(architecture), zoo.inputs()
    found = discover(model, inputs, 64)
    assert rows[name] == page.row(name, page.Seen(architecture, found, leak_test(model, inputs, found)))
