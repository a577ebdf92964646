"""Incremental JSON scanner: keeps the content of long strings out of `json.loads`.

`json.loads` holds the GIL: a picture of 60 MB would block the event loop for a second. The scanner
reads the text in windows of well below a millisecond each. It replaces windows that lie entirely
inside a string by a mark, so `json.loads` gets a small text. Validates no value; accepts what
`json.loads` accepts, in UTF-8 only (RFC 8259, 8.1).
"""

from __future__ import annotations

import codecs
import json
import secrets
from dataclasses import dataclass
from typing import Any

_WINDOW = 32_768  # characters
_DEPTH = 3  # of `image` in an element of a list in the body
_ESCAPE = 6  # characters of the longest escape: a backslash, u and four digits


class TooMuchJson(ValueError):
    """The text, without its long strings, is too large or has too many values."""


@dataclass(frozen=True, slots=True)
class LongString:
    """A string of more than 32768 bytes. parts: its UTF-8 in pieces; a lone surrogate is encoded by
    itself."""

    parts: list[bytes]

    @property
    def may_be_base64(self) -> bool:
        """Whether it is ASCII and not a URL."""
        head = self.parts[0] + b"".join(self.parts[1:2])[:16]
        return b"://" not in head[:16] and all(part.isascii() for part in self.parts)

    def to_bytes(self) -> bytes:
        return b"".join(self.parts)

    def text(self, count: int) -> str:
        """The first characters, at least `count` of them if the string has as many."""
        head = ""
        for part in self.parts:
            decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
            head += decoder.decode(part[: 4 * count])  # a character has at most four bytes
            if len(head) > count + len(self.parts):  # a part may end with half a surrogate pair
                break
        # Join surrogate pairs whose halves were in two parts.
        return head.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class JsonScan:
    """One JSON text. max_characters: limit of what is passed to the parser; max_marks: limit of the
    brackets, commas and colons in that."""

    def __init__(self, max_characters: int, max_marks: int) -> None:
        self._max_characters = max_characters
        self._max_marks = max_marks
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._mark = f"\ue000{secrets.token_hex(16)}:"  # random, so no client can send it
        self._kept_text: list[str] = []
        self._size = 0
        self._marks = 0
        self._unread = ""
        self._inside = False  # whether the text read so far ends inside a string
        self._cut: list[bytes] | None = None  # windows cut out of that string
        self._strings: list[list[bytes]] = []

    def feed(self, chunk: bytes) -> None:
        """Scan the next bytes. Raises TooMuchJson, and ValueError for invalid JSON
        (UnicodeDecodeError: not UTF-8)."""
        text = self._unread + self._decoder.decode(chunk)
        end = len(text) - len(text) % _WINDOW
        self._unread = ""
        for start in range(0, end, _WINDOW):
            self._read(self._unread + text[start : start + _WINDOW])
        self._unread += text[end:]

    def value(self, **options: Any) -> Any:
        """The value of the whole text, by json.loads with `options`. Long strings are LongString in
        objects and lists, down to three of them inside each other. Raises like `feed`, and
        RecursionError."""
        text = self._unread + self._decoder.decode(b"", final=True)
        self._unread = ""
        self._keep(text)
        value = json.loads("".join(self._kept_text), **options)
        return self._restored(value) if self._strings else value

    def _read(self, window: str) -> None:
        cut = _safe_end(window)
        window, self._unread = window[:cut], window[cut:]
        # Escaped backslashes first: a backslash that remains before a quote escapes it.
        quotes = window.count('"')
        if "\\" in window:
            quotes = window.replace("\\\\", "").replace('\\"', "").count('"')
        if quotes:
            self._keep(window)
            self._inside ^= quotes % 2 == 1
            self._cut = None
        elif self._inside:
            self._cut_out(window)
        elif window.strip(" \t\r\n"):
            self._keep(window)
        else:
            self._keep(" ")

    def _keep(self, text: str) -> None:
        self._kept_text.append(text)
        self._size += len(text)
        self._marks += sum(text.count(mark) for mark in "[{,:")
        if self._size > self._max_characters or self._marks > self._max_marks:
            raise TooMuchJson

    def _cut_out(self, window: str) -> None:
        if self._cut is None:
            self._kept_text.append(f"{self._mark}{len(self._strings)};")
            self._cut = []
            self._strings.append(self._cut)
        # json.loads of one window decodes its escapes and refuses control characters.
        self._cut.append(json.loads(f'"{window}"').encode("utf-8", "surrogatepass"))

    def _restored(self, value: Any, depth: int = _DEPTH) -> Any:
        if isinstance(value, str):
            return self._string(value)
        if not depth:
            return value
        if isinstance(value, dict):
            return {name: self._restored(item, depth - 1) for name, item in value.items()}
        if isinstance(value, list):
            return [self._restored(item, depth - 1) for item in value]
        return value

    def _string(self, value: str) -> str | LongString:
        if self._mark not in value:
            return value
        head, _, rest = value.partition(self._mark)
        index, _, tail = rest.partition(";")
        first, last = (end.encode("utf-8", "surrogatepass") for end in (head, tail))
        return LongString([first, *self._strings[int(index)], last])


def _safe_end(window: str) -> int:
    """The end of a window that splits no escape: its own end, or the start of its last escape."""
    at = window.rfind("\\", max(0, len(window) - _ESCAPE))
    if at < 0:
        return len(window)
    before = window[: at + 1]
    if (len(before) - len(before.rstrip("\\"))) % 2 == 0:  # an escaped backslash, complete
        return len(window)
    return at
