"""Base64 and data URIs: every form of them, and memory in proportion to the text."""

from __future__ import annotations

import base64
import tracemalloc
from contextlib import suppress
from urllib.parse import quote

import pytest

from app.core.errors import ImageRejected
from app.core.inline import decode_base64, decoded_size

DATA = bytes(range(256))
RAW = base64.b64encode(DATA).decode()
URL_SAFE = base64.urlsafe_b64encode(DATA).decode()
LINES = "\r\n".join(RAW[start : start + 40] for start in range(0, len(RAW), 40))

FORMS = {
    "plain": RAW,
    "without padding": RAW.rstrip("="),
    "lines": LINES,
    "URL-safe": URL_SAFE,
    "URL-safe without padding": URL_SAFE.rstrip("="),
    "byte order mark and blanks": f"\ufeff\n {RAW} \n",
    "data URI": f"data:image/png;base64,{RAW}",
    "data URI without a type": f"data:;base64,{RAW}",
    "data URI in upper case": f"DATA:IMAGE/PNG;BASE64,{RAW}",
    "data URI with parameters": f"data:image/png;name=a.png;base64,{RAW}",
    "escaped data URI": f"data:image/png;base64,{quote(RAW, safe='')}",
    "escapes in lower case": "data:;base64," + quote(RAW, safe="").replace("%2B", "%2b"),
    "data URI with escaped lines": f"data:image/png;base64,{quote(LINES)}",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_read(text: str) -> None:
    assert decode_base64(text) == DATA


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_its_size_is_known_without_decoding(text: str) -> None:
    assert decoded_size(text) == len(DATA)


def test_the_size_of_what_cannot_be_decoded_is_about_that() -> None:
    assert decoded_size("") == 0
    assert decoded_size("data:no comma" * 40) == pytest.approx(390, abs=40)


REFUSED = {
    "path": "/etc/passwd!",
    "prose": "not base64 at all?",
    "not ASCII": "é",
    "one letter": "A",
    "padding inside": "AA==AAAA",
    "data URI without base64": "data:image/png,abc",
    "data URI of prose": "data:image/png;base64,!!!",
    "data URI without a comma": "data:image/png;base64",
    "long type": f"data:{'a' * 300};base64,AAAA",
    "other escape": "data:;base64,AAAA%41",
    "escape in plain base64": "AAA%3D",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(ImageRejected, match="^image: (neither|a data URI)") as refused:
        decode_base64(text)
    assert text not in refused.value.text


@pytest.mark.parametrize("piece", ["%2B", "AB ", "A\n", "-", "%0a"])
def test_memory_is_in_proportion_to_the_text(piece: str) -> None:
    text = "data:;base64," + piece * (1_000_000 // len(piece))
    tracemalloc.start()
    try:
        with suppress(ImageRejected):
            decode_base64(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * len(text)
