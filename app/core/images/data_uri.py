"""A picture that stands in the request itself: base64, or a data URI of it -> its bytes.

The text may be as long as a request may be, so every step takes memory in proportion to it (nothing
splits it into lines) and runs in pieces, because the steps hold Python's lock.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from app.core.errors import ImageRejected

_DATA_URI = re.compile(rb'data:(?:"[^"]{0,200}"|[^,"]){0,200},', re.IGNORECASE)
_IS_BASE64 = re.compile(rb";\s*base64\s*,\Z", re.IGNORECASE)
_LINE_ENDS = b"\t\r\n\v\f"
_SHORTEST = 32  # letters of a picture
_LONGEST_GAP = 8  # blanks between two lines
_STANDARD = bytes.maketrans(b"-_", b"+/")
# What percent-encoding can have done to base64.
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
    """Bytes of raw base64 or of a data URI; standard or URL-safe alphabet, padding optional.

    Line ends and indentation are dropped. A blank is read as the `+` that it was before a form was
    decoded, unless it separates lines. Raises ImageRejected.
    """
    decoded = bytearray()
    left = b""
    try:
        for piece in _pieces(text):
            left += piece
            whole = len(left) // 4 * 4
            decoded += base64.b64decode(left[:whole], validate=True)
            left = left[whole:]
        decoded += base64.b64decode(left + b"=" * (-len(left) % 4), validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are such
        raise ImageRejected(
            "image: neither an http(s) URL nor base64 nor a base64 data URI"
        ) from None
    return bytes(decoded)


def first_bytes(text: str | bytes, most: int) -> bytes:
    """The first bytes, `most` at most, of what decode_base64 says; b"" where that is an error."""
    head = bytearray()
    try:
        for piece in _pieces(text):
            head += piece
            if len(head) * 3 // 4 >= most:
                break
        return base64.b64decode(head[: len(head) // 4 * 4], validate=True)[:most]
    except (ValueError, ImageRejected):
        return b""


def decoded_size(text: str | bytes) -> int:
    """How many bytes decode_base64 says, found with little memory; three quarters of the length of
    a text that is no base64."""
    try:
        return sum(len(piece) for piece in _pieces(text)) * 3 // 4
    except (ValueError, ImageRejected):
        return len(text) * 3 // 4


def _pieces(text: str | bytes) -> Iterator[bytes]:
    """The base64 alone, in pieces: standard alphabet, one line, without padding. Raises ValueError
    for padding inside, and ImageRejected for a data URI of anything else."""
    if isinstance(text, str):
        text = text.lstrip("\ufeff \t\r\n").encode("ascii")
    raw, start = text.removeprefix(b"\xef\xbb\xbf").lstrip(), 0
    prefix = _DATA_URI.match(raw)
    if prefix is not None:
        if _IS_BASE64.search(prefix.group()) is None:
            raise ImageRejected("image: a data URI must hold base64")
        start = prefix.end()
        if _holds(raw, b"%", start):
            raw, start = _unescaped(raw[start:]), 0
    if _holds(raw, b" ", start):
        raw, start = _without_blanks(raw[start:]), 0
    end = _end(raw, b"=" + _LINE_ENDS)
    for at in range(start, end, _PIECE):
        piece = raw[at : min(at + _PIECE, end)]
        if b"=" in piece:
            raise ValueError("padding inside")
        yield piece.translate(_STANDARD, _LINE_ENDS)


def _holds(raw: bytes, sign: bytes, start: int) -> bool:
    """Whether it stands behind `start`, looked for in pieces."""
    return any(raw.find(sign, at, at + _PIECE) >= 0 for at in range(start, len(raw), _PIECE))


def _end(raw: bytes, ending: bytes) -> int:
    """Where it ends without the bytes of `ending`, found without a copy."""
    for at in range(len(raw), 0, -_PIECE):
        left = raw[max(0, at - _PIECE) : at].rstrip(ending)
        if left:
            return max(0, at - _PIECE) + len(left)
    return 0


def _unescaped(text: bytes) -> bytes:
    for escape, byte in _ESCAPES.items():
        text = text.replace(escape, byte).replace(escape.lower(), byte)
    return text


def _without_blanks(text: bytes) -> bytes:
    """Its blanks dropped, or read as the `+` that they were before somebody decoded a form."""
    text = text.lstrip()
    core = text.rstrip(b" " + _LINE_ENDS)
    if any(sign in core for sign in (b"+", b"-", b"_")):  # a form decoder leaves none of them
        return core.replace(b" ", b"")
    letters = len(core) - sum(core.count(bytes([blank])) for blank in b" =" + _LINE_ENDS)
    blanks, padding = core.count(b" "), len(core) - len(core.rstrip(b"="))
    whole = (letters + blanks + padding) % 4
    fits = whole == 0 if padding else whole != 1
    long = letters + blanks >= _SHORTEST  # what is shorter is some other text
    lost = blanks > 0 and long and fits and not _separate_lines(core, blanks)
    count = letters + (blanks if lost else 0)
    at_end = text.count(b" ", len(core))
    if at_end and long and not padding and count % 4 and (count + at_end) % 4 == 0:
        core, lost = text, lost or blanks == 0
    return core.replace(b" ", b"+" if lost else b"")


def _separate_lines(text: bytes, blanks: int) -> bool:
    """Whether all blanks in it stand where lines of one length end, or begin behind a line end."""
    text = text.translate(None, b"\t\r\v\f")
    lines = text.count(b"\n")
    if lines and blanks % lines == 0:
        indent = b" " * (blanks // lines)
        return lines in (text.count(b"\n" + indent), text.count(indent + b"\n"))
    width = text.index(b" ")
    gap = len(text) - width - len(text[width:].lstrip(b" "))
    if lines or blanks == gap or width % 4 or gap > _LONGEST_GAP:
        return False
    return blanks == sum(text[width + at :: width + gap].count(b" ") for at in range(gap))
