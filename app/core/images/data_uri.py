"""Decodes an inline picture, base64 or a base64 data URI, to its bytes.

The text can be as long as a request body. So the memory of every step is linear in its length
(nothing splits it into lines), and every step runs in pieces, because it holds the GIL.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from app.core.errors import ImageRejected

_DATA_URI = re.compile(rb'data:(?:"[^"]{0,200}"|[^,"]){0,200},', re.IGNORECASE)
_IS_BASE64 = re.compile(rb";\s*base64\s*,\Z", re.IGNORECASE)
_LINE_ENDS = b"\t\r\n\v\f"
_MIN_LETTERS = 32  # of a picture
_MAX_GAP = 8  # blanks between two lines
_STANDARD = bytes.maketrans(b"-_", b"+/")
# The characters of base64 that percent-encoding escapes.
_ESCAPES = {
    b"%2B": b"+",
    b"%2F": b"/",
    b"%3D": b"=",
    b"%2D": b"-",
    b"%5F": b"_",
    b"%0A": b"\n",
    b"%0D": b"\r",
    b"%20": b" ",
}
_PIECE = 262_144


def decode_base64(text: str | bytes) -> bytes:
    """Decode raw base64 or a data URI; standard or URL-safe alphabet, padding optional.

    Drops line ends and indentation. A blank that does not separate lines is read as `+`, because
    form decoding turns `+` into a blank. Raises ImageRejected.
    """
    decoded = bytearray()
    rest = b""
    try:
        for piece in _pieces(text):
            rest += piece
            whole = len(rest) // 4 * 4
            decoded += base64.b64decode(rest[:whole], validate=True)
            rest = rest[whole:]
        decoded += base64.b64decode(rest + b"=" * (-len(rest) % 4), validate=True)
    except ValueError:  # also binascii.Error, UnicodeEncodeError
        raise ImageRejected(
            "image: neither an http(s) URL nor base64 nor a base64 data URI"
        ) from None
    return bytes(decoded)


def first_bytes(text: str | bytes, count: int) -> bytes:
    """The first `count` bytes that decode_base64 returns; b"" if it fails."""
    head = bytearray()
    try:
        for piece in _pieces(text):
            head += piece
            if len(head) * 3 // 4 >= count:
                break
        return base64.b64decode(head[: len(head) // 4 * 4], validate=True)[:count]
    except (ValueError, ImageRejected):
        return b""


def decoded_size(text: str | bytes) -> int:
    """Number of bytes that decode_base64 returns, computed with little memory; three quarters of
    the length of a text that is not base64."""
    try:
        return sum(len(piece) for piece in _pieces(text)) * 3 // 4
    except (ValueError, ImageRejected):
        return len(text) * 3 // 4


def _pieces(text: str | bytes) -> Iterator[bytes]:
    """The plain base64 in pieces: standard alphabet, one line, no padding. Raises ValueError for
    padding inside, and ImageRejected for a data URI without base64."""
    if isinstance(text, str):
        text = text.lstrip("\ufeff \t\r\n").encode("ascii")
    raw, start = text.removeprefix(b"\xef\xbb\xbf").lstrip(), 0
    prefix = _DATA_URI.match(raw)
    if prefix is not None:
        if _IS_BASE64.search(prefix.group()) is None:
            raise ImageRejected("image: a data URI must hold base64")
        start = prefix.end()
        if _contains(raw, b"%", start):
            raw, start = _unescaped(raw[start:]), 0
    if _contains(raw, b" ", start):
        raw, start = _without_blanks(raw[start:]), 0
    end = _end(raw, b"=" + _LINE_ENDS)
    for at in range(start, end, _PIECE):
        piece = raw[at : min(at + _PIECE, end)]
        if b"=" in piece:
            raise ValueError("padding inside")
        yield piece.translate(_STANDARD, _LINE_ENDS)


def _contains(raw: bytes, sign: bytes, start: int) -> bool:
    """Whether `sign` occurs after `start`; searches in pieces."""
    return any(raw.find(sign, at, at + _PIECE) >= 0 for at in range(start, len(raw), _PIECE))


def _end(raw: bytes, ending: bytes) -> int:
    """The length without trailing bytes of `ending`, computed without a copy."""
    for at in range(len(raw), 0, -_PIECE):
        stripped = raw[max(0, at - _PIECE) : at].rstrip(ending)
        if stripped:
            return max(0, at - _PIECE) + len(stripped)
    return 0


def _unescaped(text: bytes) -> bytes:
    for escape, byte in _ESCAPES.items():
        text = text.replace(escape, byte).replace(escape.lower(), byte)
    return text


def _without_blanks(text: bytes) -> bytes:
    """Drop blanks, or read them as `+` if a form decoder has replaced it."""
    text = text.lstrip()
    core = text.rstrip(b" " + _LINE_ENDS)
    if any(sign in core for sign in (b"+", b"-", b"_")):  # not form-decoded
        return core.replace(b" ", b"")
    letters = len(core) - sum(core.count(bytes([blank])) for blank in b" =" + _LINE_ENDS)
    blanks, padding = core.count(b" "), len(core) - len(core.rstrip(b"="))
    whole = (letters + blanks + padding) % 4
    fits = whole == 0 if padding else whole != 1
    long = letters + blanks >= _MIN_LETTERS  # a shorter text is no picture
    lost = blanks > 0 and long and fits and not _separate_lines(core, blanks)
    count = letters + (blanks if lost else 0)
    at_end = text.count(b" ", len(core))
    if at_end and long and not padding and count % 4 and (count + at_end) % 4 == 0:
        core, lost = text, lost or blanks == 0
    return core.replace(b" ", b"+" if lost else b"")


def _separate_lines(text: bytes, blanks: int) -> bool:
    """Whether all blanks are at the ends of lines of one length, or indent lines."""
    text = text.translate(None, b"\t\r\v\f")
    lines = text.count(b"\n")
    if lines and blanks % lines == 0:
        indent = b" " * (blanks // lines)
        return lines in (text.count(b"\n" + indent), text.count(indent + b"\n"))
    width = text.index(b" ")
    gap = len(text) - width - len(text[width:].lstrip(b" "))
    if lines or blanks == gap or width % 4 or gap > _MAX_GAP:
        return False
    return blanks == sum(text[width + at :: width + gap].count(b" ") for at in range(gap))
