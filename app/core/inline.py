"""A picture that stands in the request itself: base64, or a data URI of it -> its bytes.

The text may be as long as a request may be, so every step here takes memory in proportion to it:
nothing splits it into pieces.
"""

from __future__ import annotations

import base64
import re

from app.core.errors import ImageRejected

_DATA_URI = re.compile(rb"data:[^,]{0,200},", re.IGNORECASE)
_LEADING = "\ufeff \t\r\n"
_LONGEST_PREFIX = 210
_LONGEST_PADDING = 16
_BLANKS = b" \t\r\n\v\f"
_STANDARD = bytes.maketrans(b"-_", b"+/")
# All that percent-encoding can have done to base64.
_ESCAPES = {b"%2B": b"+", b"%2F": b"/", b"%3D": b"=", b"%2D": b"-", b"%5F": b"_"} | {
    blank: b"" for blank in (b"%0A", b"%0D", b"%20")
}


def decode_base64(text: str) -> bytes:
    """Bytes of raw base64 or of a data URI; standard or URL-safe alphabet, padding optional."""
    try:
        payload = _payload(text.lstrip(_LEADING).encode("ascii"))
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


def decoded_size(text: str) -> int:
    """How many bytes base64 or a data URI of it has, without decoding it; of any other text about
    three quarters of its length. Takes no memory, whatever the length.
    """
    head = text[:_LONGEST_PREFIX]
    lead = len(head) - len(head.lstrip(_LEADING))
    is_uri = text[lead : lead + 5].lower() == "data:"
    start = text.find(",", lead, lead + _LONGEST_PREFIX) + 1 if is_uri else lead
    blanks = sum(text.count(blank, start) for blank in _BLANKS.decode())
    # An escape is three characters for one, or for none where it stands for a blank.
    escapes = text.count("%", start)
    blanks += sum(text.count(f"%{code}", start) for code in ("0A", "0a", "0D", "0d", "20"))
    end = text[max(start, len(text) - _LONGEST_PADDING) :].upper()
    padding = end.count("=") + end.count("%3D")
    digits = len(text) - start - blanks - 2 * escapes - padding
    return max(0, digits * 3 // 4)
