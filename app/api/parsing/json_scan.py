"""Reads a JSON text while it arrives and keeps the insides of long strings out of the parser.

`json.loads` holds Python's lock while it runs: for a picture of 60 MB the event loop stops for a
second. Here each window of the text takes well below a millisecond, and
what `json.loads` gets in the end is small: windows that lie inside a string as a whole are replaced
by a mark. Judges no value, and accepts what `json.loads` accepts, in UTF-8 only (RFC 8259, 8.1).
"""

from __future__ import annotations

import codecs
import json
import secrets
from dataclasses import dataclass
from typing import Any

_WINDOW = 32_768  # characters
_ESCAPE = 6  # characters of the longest escape: a backslash, u and four digits


class TooMuchJson(ValueError):
    """The text without its long strings is too large, or has too many values."""


@dataclass(frozen=True, slots=True)
class LongString:
    """A string of more than 32768 bytes. parts: its UTF-8 in pieces, where half of a surrogate pair
    is encoded by itself."""

    parts: list[bytes]

    @property
    def may_be_base64(self) -> bool:
        """Not a URL, and all ASCII."""
        head = self.parts[0] + b"".join(self.parts[1:2])[:16]
        return b"://" not in head[:16] and all(part.isascii() for part in self.parts)

    def to_bytes(self) -> bytes:
        return b"".join(self.parts)

    def text(self, most: int) -> str:
        """Its first characters, at least `most` if it has so many."""
        head = ""
        for part in self.parts:
            decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
            head += decoder.decode(part[: 4 * most])  # a character has four bytes at most
            if len(head) > most + len(self.parts):  # each end of a part may hold half a pair
                break
        # A pair whose halves were in two parts is one character again.
        return head.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class JsonScan:
    """One JSON text. most: characters that may be left for the parser; most_marks: brackets,
    commas and colons in these."""

    def __init__(self, most: int, most_marks: int) -> None:
        self._most = most
        self._most_marks = most_marks
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._mark = f"\ue000{secrets.token_hex(16)}:"  # random, so no client can send it
        self._rest: list[str] = []
        self._size = 0
        self._marks = 0
        self._unread = ""
        self._inside = False  # a string, at the end of what was read
        self._cut: list[bytes] | None = None  # what was cut out of that string
        self._strings: list[list[bytes]] = []

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the text. Raises TooMuchJson, and ValueError when it cannot
        become JSON (UnicodeDecodeError: it is not UTF-8)."""
        text = self._unread + self._decoder.decode(chunk)
        end = len(text) - len(text) % _WINDOW
        self._unread = ""
        for start in range(0, end, _WINDOW):
            self._read(self._unread + text[start : start + _WINDOW])
        self._unread += text[end:]

    def value(self, **options: Any) -> Any:
        """The value of the whole text, by json.loads with `options`. Strings in it, and in its
        items when it is an object or a list in one, are LongString when they are long. Raises as
        `feed`, and RecursionError."""
        text = self._unread + self._decoder.decode(b"", final=True)
        self._unread = ""
        self._keep(text)
        value = json.loads("".join(self._rest), **options)
        return self._restored(value) if self._strings else value

    def _read(self, window: str) -> None:
        cut = _safe_end(window)
        window, self._unread = window[:cut], window[cut:]
        # Escaped backslashes first: what is left of a run before a quote escapes it or not.
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
        self._rest.append(text)
        self._size += len(text)
        self._marks += sum(text.count(mark) for mark in "[{,:")
        if self._size > self._most or self._marks > self._most_marks:
            raise TooMuchJson

    def _cut_out(self, window: str) -> None:
        if self._cut is None:
            self._rest.append(f"{self._mark}{len(self._strings)};")
            self._cut = []
            self._strings.append(self._cut)
        # One window at a time, its escapes are read and its control characters refused.
        self._cut.append(json.loads(f'"{window}"').encode("utf-8", "surrogatepass"))

    def _restored(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._string(item) for name, item in value.items()}
        return value

    def _string(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._string(item) if isinstance(item, str) else item for item in value]
        if not isinstance(value, str) or self._mark not in value:
            return value
        head, _, rest = value.partition(self._mark)
        index, _, tail = rest.partition(";")
        first, last = (end.encode("utf-8", "surrogatepass") for end in (head, tail))
        return LongString([first, *self._strings[int(index)], last])


def _safe_end(window: str) -> int:
    """Where to end a window so that no escape is torn: at its end, or before its last escape."""
    at = window.rfind("\\", max(0, len(window) - _ESCAPE))
    if at < 0:
        return len(window)
    before = window[: at + 1]
    if (len(before) - len(before.rstrip("\\"))) % 2 == 0:  # an escaped backslash, complete
        return len(window)
    return at
