"""Round trips through every source, and every way a source can be wrong."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from saber.errors import PromptError
from saber.prompts import Prompt, PromptSet, load_prompts

ROWS = [
    {"prompt": "Name a colour.", "category": "a", "answer": "red", "check": "contains"},
    {
        "prompt": "Say, with a comma,\nand a line break: \u00e9",
        "category": "b",
        "answer": None,
        "check": None,
    },
    {"prompt": "What is 6 * 7?", "category": "a", "answer": "42", "check": "number"},
]
EXPECTED = (
    Prompt("Name a colour.", "capability", "a", "red", "contains"),
    Prompt("Say, with a comma,\nand a line break: \u00e9", "capability", "b"),
    Prompt("What is 6 * 7?", "capability", "a", "42", "number"),
)


def write(folder: Path, suffix: str, rows: list[dict[str, object]]) -> Path:
    path = folder / f"prompts{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    elif suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        import csv

        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_table_formats_give_the_same_prompts(tmp_path, suffix):
    loaded = load_prompts(str(write(tmp_path, suffix, ROWS)), "capability")
    assert loaded.prompts == EXPECTED
    assert loaded.role == "capability"
    assert loaded.revision is None
    assert loaded.texts == tuple(prompt.text for prompt in EXPECTED)
    assert loaded.sha256 == PromptSet("capability", EXPECTED, "elsewhere").sha256


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_another_column(tmp_path, suffix):
    path = write(tmp_path, suffix, [{"prompt": "no", "goal": "yes"}])
    assert load_prompts(f"{path}:goal", "harmful").texts == ("yes",)


def test_txt_skips_blank_lines_and_comments(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("\ufeff# a comment\n\n  first  \nsecond # not a comment\n", encoding="utf-8")
    loaded = load_prompts(str(path), "harmless")
    assert loaded.texts == ("first", "second # not a comment")
    assert loaded.source == str(path)


def test_missing_values_of_data_frames(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(
        '{"prompt": "a", "answer": 42.0}\n{"prompt": "b", "answer": NaN}\n{"prompt": "c", "answer": 1.5}'
    )
    assert [prompt.answer for prompt in load_prompts(str(path), "capability")] == ["42", None, "1.5"]


def test_duplicates_are_removed_and_counted(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("One  thing\nanother\none thing\n\uff2fne thing\n", encoding="utf-8")
    loaded = load_prompts(str(path), "harmful")
    assert loaded.texts == ("One  thing", "another")
    assert (len(loaded), loaded.duplicates) == (2, 2)


def test_sha256_depends_on_contents_and_order():
    one, two = Prompt("a", "harmful"), Prompt("b", "harmful")
    hashes = {
        PromptSet("harmful", prompts, "x").sha256
        for prompts in [(one, two), (two, one), (one,), (one, Prompt("b", "harmful", "c"))]
    }
    assert len(hashes) == 4


def test_builtin_sources():
    assert load_prompts("builtin", "harmful") == load_prompts("builtin:real", "harmful", demo=True)
    assert load_prompts("builtin", "harmful").source == "builtin:real"


def _file(name: str, content: bytes):
    def make(folder: Path) -> str:
        (folder / name).write_bytes(content)
        return str(folder / name)

    return make


ERRORS = {
    "missing": (lambda folder: str(folder / "promts.txt"), "not found", "prompts.txt?"),
    "missing folder": (lambda folder: str(folder / "no" / "p.txt"), "not found", "does not exist either"),
    "hub id": (lambda folder: "someorg/some-dataset", "not found", "hf:someorg/some-dataset"),
    "folder": (lambda folder: str(folder), "is a folder", "hf:"),
    "suffix": (_file("p.docx", b"x"), "'.docx'", ".jsonl, .csv, .parquet"),
    "column": (_file("p.csv", b"text,kind\nhi,a\n"), "columns found: text, kind", "SOURCE:column"),
    "empty txt": (_file("p.txt", b"# only this\n\n"), "no prompts found", "at least one"),
    "empty jsonl": (_file("p.jsonl", b""), "no prompts found", "at least one"),
    "empty csv": (_file("p.csv", b""), "no prompts found", "at least one"),
    "empty prompt": (
        _file("p.jsonl", b'{"prompt": "a"}\n{"prompt": " "}\n{"q": 1}\n'),
        "2 of 3 prompts in column 'prompt' are empty (line 2, line 3)",
        "Remove",
    ),
    "json": (_file("p.jsonl", b'{"prompt": "a"}\n\n{"prompt": \n'), "line 3 is not valid JSON", "one object"),
    "json list": (_file("p.jsonl", b'["a"]\n'), "line 1 is a JSON list", "one object"),
    "not text": (_file("p.jsonl", b'{"prompt": [{"role": "user"}]}\n'), "is a list, not text", "first user"),
    "utf-8": (_file("p.txt", b"fine\ncaf\xe9\n"), "not UTF-8 (line 2, byte 0xe9)", "iconv"),
    "check": (
        _file("p.jsonl", b'{"prompt": "a", "check": "contain"}\n'),
        "line 1: unsupported check 'contain'",
        "Did you mean 'contains'?",
    ),
    "answer": (_file("p.jsonl", b'{"prompt": "a", "answer": [1]}\n'), "'answer' is a list", "one value"),
    "csv cells": (_file("p.csv", b"prompt\nhello, world\n"), "row 1 has more cells", "Quote"),
    "csv quote": (_file("p.csv", b'prompt\n"open\n'), "row 1 is not valid CSV", "quotes"),
    "parquet": (_file("p.parquet", b"no parquet"), "not a readable Parquet", "again"),
    "builtin": (lambda folder: "builtin:fake", "'builtin:fake'", "builtin:demo"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_and_how(tmp_path, case):
    make, message, hint = ERRORS[case]
    (tmp_path / "prompts.txt").write_text("hello")
    with pytest.raises(PromptError) as caught:
        load_prompts(make(tmp_path), "harmful")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_missing_column_of_a_named_column(tmp_path):
    path = _file("p.csv", b"text,kind\nhi,a\n")(tmp_path)
    with pytest.raises(PromptError, match=r"no column 'goal'; columns found: text, kind") as caught:
        load_prompts(f"{path}:goal", "harmful")
    assert "after the colon" in caught.value.hint


def test_txt_has_no_columns(tmp_path):
    path = _file("p.txt", b"hi\n")(tmp_path)
    with pytest.raises(PromptError, match="has no column 'goal'") as caught:
        load_prompts(f"{path}:goal", "harmful")
    assert caught.value.hint == f"Write {path} only."


def test_builtin_data_missing(monkeypatch, tmp_path):
    monkeypatch.setattr("saber.prompts.load.resources.files", lambda name: tmp_path)
    with pytest.raises(PromptError, match="are missing") as caught:
        load_prompts("builtin:demo", "harmful")
    assert "Install" in caught.value.hint
