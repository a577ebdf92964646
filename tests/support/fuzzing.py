"""The inputs of the fuzzer for the parsers of untrusted input, and the allowed results.

A parser may return a value or raise the one exception it declares. Everything else is a finding,
excessive memory included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from app.api.wire.requests import FluxControlNetBody, parse_body
from app.core.egress.urls import parse_url, resolve_redirect
from app.core.errors import ImageRejected, InvalidRequest, UrlRejected
from app.core.images.data_uri import decode_base64
from app.core.images.decode import decode
from tests.support import fuzzed_bodies, fuzzed_files, fuzzed_texts

_MAX_PIXELS = 1_000_000
_MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Target:
    """run tells in a few words how an input ended; what it raises is a find."""

    inputs: SearchStrategy[Any]
    run: Callable[[Any], str]


def _decode(data: bytes) -> str:
    try:
        picture = decode(data, _MAX_BYTES, _MAX_PIXELS)
    except ImageRejected as refused:
        outcome = _without_numbers(refused.text)
    else:
        assert (picture.mode, picture.info) == ("RGB", {})
        assert picture.width * picture.height <= _MAX_PIXELS
        outcome = "a picture"
    assert "memory" not in outcome
    return outcome


def _decode_base64(text: str) -> str:
    try:
        data = decode_base64(text)
    except ImageRejected as refused:
        return refused.text
    assert len(data) <= len(text)
    return "bytes"


def _parse_url(texts: tuple[str, str]) -> str:
    try:
        url = parse_url(resolve_redirect(*texts))
    except UrlRejected as refused:
        return _without_numbers(refused.text)
    assert url.scheme in ("http", "https")
    assert re.fullmatch(rb"[!-~]+", url.target)
    assert re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", url.host)
    return "a URL"


def _parse_body(text: str) -> str:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return "no JSON"
    try:
        parse_body(FluxControlNetBody, fields)
    except InvalidRequest as refused:
        name, _, reason = refused.text.partition(": ")
        kind = re.search("is (missing|empty|not allowed)", reason)
        assert kind is not None
        return f"{name} {kind.group()}"
    return "a body"


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "N", text)


TARGETS = {
    "picture files": Target(fuzzed_files.files, _decode),
    "base64 and data URIs": Target(fuzzed_texts.inline_pictures, _decode_base64),
    "URLs and redirects": Target(st.tuples(fuzzed_texts.urls, fuzzed_texts.urls), _parse_url),
    "request bodies": Target(fuzzed_bodies.bodies, _parse_body),
}
