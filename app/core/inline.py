"""A picture that stands in the request itself: base64, or a data URI of it -> its bytes.

The text may be as long as a request may be, so every step here takes memory in proportion to it:
nothing splits it into pieces.
"""

from __future__ import annotations

import base64
import re

from app.core.errors import ImageRejected

_DATA_URI = re.compile(rb"data:[^,]{0,200},", re.IGNORECASE)
_BLANKS = b" \t\r\n\v\f"
_STANDARD = bytes.maketrans(b"-_", b"+/")
# All that percent-encoding can have done to base64.
_ESCAPES = {b"%2B": b"+", b"%2F": b"/", b"%3D": b"=", b"%2D": b"-", b"%5F": b"_"} | {
    blank: b"" for blank in (b"%0A", b"%0D", b"%20")
}


def decode_base64(text: str) -> bytes:
    """Bytes of raw base64 or of a data URI; standard or URL-safe alphabet, padding optional."""
    try:
        payload = _payload(text.lstrip("\ufeff \t\r\n").encode("ascii"))
        return base64.b64decode(payload + b"=" * (-len(payload) % 4), validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are such
        raise ImageRejected(
            "image: neither an http(s) URL nor base64 nor a base64 data URI"
        ) from None


def _payload(text: bytes) -> bytes:
    """The base64 alone: standard alphabet, one line, no padding."""
    prefix = _DATA_URI.match(text)
    if prefix is not None:
        if not prefix.group().lower().endswith(b";base64,"):
            raise ImageRejected("image: a data URI must hold base64")
        text = _unescaped(text[prefix.end() :])
    return text.translate(_STANDARD, _BLANKS).rstrip(b"=")


def _unescaped(text: bytes) -> bytes:
    if b"%" in text:
        for escape, byte in _ESCAPES.items():
            text = text.replace(escape, byte).replace(escape.lower(), byte)
    return text
