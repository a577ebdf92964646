"""Detects responses that are no picture (empty, compressed, HTML), with an actionable error text.

Looks only at the headers and the first bytes; app/core/images/decode.py judges the picture itself.
Error texts contain nothing of the body.
"""

from __future__ import annotations

import re

from app.core.errors import ImageRejected
from app.core.storage.uploads import picture_of

_HEAD = 1024
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_CODINGS = ("gzip", "x-gzip", "deflate", "br", "zstd", "compress")
# The beginning of an HTML page (WHATWG, MIME sniffing, 7.1), and what may precede it.
_PAGE = re.compile(
    rb"<(!doctype html|html|head|body|script|iframe|title|meta|link|style|table|div|h1|p|a|b|br)"
    rb"[\s/>]",
    re.IGNORECASE,
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_PREFIXES = ((b"<!--", b"-->"), (b"<?xml", b"?>"))


def check_body(body: bytes, content_type: str, content_encoding: str) -> None:
    """Raises ImageRejected for an empty or compressed body and for a web page. A body that begins
    like a picture passes, whatever its headers are.
    """
    if not body:
        raise ImageRejected("image: the URL answered with an empty body")
    head = body[:_HEAD]
    if picture_of(head) is not None:
        return
    coding = content_encoding.strip(" \t").lower()
    if coding not in ("", "identity"):
        named = f" ({coding})" if coding in _CODINGS else ""
        raise ImageRejected(
            f"image: the URL answered with a compressed body{named}, although one without "
            "compression was asked for"
        )
    if _is_page(head, content_type.partition(";")[0].strip(" \t").lower()):
        raise ImageRejected("image: the URL answered with a web page (HTML), not with a picture")


def _is_page(head: bytes, media_type: str) -> bool:
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    while ends := [end for start, end in _PREFIXES if begin.startswith(start)]:
        begin = begin.partition(ends[0])[2].lstrip()
    if _PAGE.match(begin) is not None:
        return True
    other = begin.lower().startswith((b"<svg", b"%pdf")) or _BINARY.search(head) is not None
    return media_type in _HTML_TYPES and not other
