"""The edits of a Lua script. Works on text, by pattern: the scripts are small, and one that an edit
breaks is noticed by its first call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Edit(NamedTuple):
    """Replace text[start:end]."""

    operator: str
    start: int
    end: int
    replacement: str


_COMPARISONS = {"==": "~=", "~=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_WORDS = {"and": "or", "or": "and", "max": "min", "min": "max"}
_COMMANDS = dict(LPUSH="RPUSH", RPUSH="LPUSH", LPOP="RPOP", RPOP="LPOP", BEFORE="AFTER")
_COMMANDS |= dict(ZRANGE="ZREVRANGE", ZREVRANGE="ZRANGE")

_COMMENT = r"--[^\n]*"
_QUOTED = r"'[^'\n]*'|\"[^\"\n]*\""

_COMPARISON = re.compile(r"[=~<>]=|[<>]")
_WORD = re.compile(r"\b(?:and|or)\b|(?<=math\.)(?:max|min)\b")
_NOT = re.compile(r"\bnot\s+")
_PLAIN_IF = re.compile(r"\bif\s+(?=[\w.\[\]]+\s+then\b)")
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")
_COMMAND = re.compile(rf"'({'|'.join(_COMMANDS)})'")
_CHECK = re.compile(r"\bif\b[^\n]*?\bthen\s+return\b[^\n]*?\s+end\b")
_CALL = re.compile(r"(?:^[ \t]*|\b(?:then|else|do)\s+)(?P<call>[A-Za-z_][\w.]*\()", re.MULTILINE)


def lua_edits(text: str) -> Iterator[Edit]:
    """All edits of a script, by the names of their operators."""
    uncommented = _blank(_COMMENT, text)
    code = _blank(_QUOTED, uncommented)
    for found in _COMPARISON.finditer(code):
        yield Edit("LuaComparison", *found.span(), _COMPARISONS[found[0]])
    for found in _WORD.finditer(code):
        yield Edit("LuaWord", *found.span(), _WORDS[found[0]])
    for found in _NOT.finditer(code):
        yield Edit("LuaNot", *found.span(), "")
    for found in _PLAIN_IF.finditer(code):
        yield Edit("LuaNot", *found.span(), "if not ")
    for found in _NUMBER.finditer(code):
        yield Edit("LuaNumber", *found.span(), str(int(found[0]) + 1))
        is_index = code[: found.start()].endswith(("KEYS[", "ARGV["))
        if found[0] != "0" and not is_index:
            yield Edit("LuaNumber", *found.span(), str(int(found[0]) - 1))
    for found in _COMMAND.finditer(uncommented):
        yield Edit("LuaCommand", *found.span(1), _COMMANDS[found[1]])
    for found in _CHECK.finditer(code):
        yield Edit("LuaDeleteCheck", *found.span(), "")
    for found in _CALL.finditer(code):
        end = _closing(code, found.end())
        if end is not None:
            yield Edit("LuaDeleteCall", found.start("call"), end, "")


def _blank(pattern: str, text: str) -> str:
    """The same text and length, with spaces where the pattern matches."""
    return re.sub(pattern, lambda found: " " * len(found[0]), text)


def _closing(code: str, start: int) -> int | None:
    """The position after the parenthesis that closes the one before start."""
    depth = 1
    for position in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[position], 0)
        if depth == 0:
            return position + 1
    return None
