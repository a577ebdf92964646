"""The text below a contact sheet fits: each line within its width, and no more than five lines."""

from __future__ import annotations

import pytest

from tests.support.node import evaluate

WIDTH = 20
"""Of a line, in characters: the measure of these tests is the length."""


def wrapped(text: str) -> list[str]:
    measure = "(text) => [...text].length"
    lines: list[str] = evaluate(
        "contact_sheet.js", f"module.wrapped(data, {measure}, {WIDTH})", text
    )
    return lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("seed 1\na ring", ["seed 1", "a ring"]),
        ("a red ring and a blue ball", ["a red ring and a", "blue ball"]),
    ],
)
def test_a_short_text_is_whole(text: str, lines: list[str]) -> None:
    assert wrapped(text) == lines


@pytest.mark.parametrize("text", ["word " * 99, "x" * 999, "\N{GRINNING FACE}" * 999, "a\n" * 99])
def test_a_long_text_ends_with_an_ellipsis(text: str) -> None:
    lines = wrapped(text)
    assert len(lines) == 5
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[-1].endswith("…")
