"""`python -m app.cli usage ...`: the report of usage as a table or as CSV. Prints nothing."""

from __future__ import annotations

from argparse import Namespace

from app.core.accounts.usage import GROUPS, Usage, Window, columns, parse_groups, to_csv


def report(usage: Usage, arguments: Namespace) -> str:
    """Lines with their ends. Raises ValueError, fit to be shown, for days or groups that cannot
    be."""
    window = Window.of(arguments.first, arguments.last)
    groups = parse_groups(arguments.group_by or GROUPS)
    rows = usage.rows(window, groups)
    if arguments.csv:
        return to_csv(rows, groups)
    names = columns(groups)
    return _table([names, *([_text(row.get(name)) for name in names] for row in rows)])


def _text(value: object) -> str:
    """Of a cell."""
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").removesuffix(".")
    return "-" if value in (None, "") else str(value)


def _table(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "".join(f"{line.rstrip()}\n" for line in aligned)
