"""Base64 and data URIs: every form of them, and memory in proportion to the text."""

from __future__ import annotations

import base64
import random
import tracemalloc
from contextlib import suppress
from urllib.parse import quote

import pytest

from app.core.errors import ImageRejected
from app.core.images import data_uri as inline
from app.core.images.data_uri import decode_base64, decoded_size, first_bytes

DATA = bytes(range(256))
RAW = base64.b64encode(DATA).decode()
PLAIN = base64.b64encode(b"\x01" * 300).decode()
WIDTHS = (40, 64, 76)
URL_SAFE = base64.urlsafe_b64encode(DATA).decode()
LINES = "\r\n".join(RAW[start : start + 40] for start in range(0, len(RAW), 40))

TO_URL_SAFE = str.maketrans("+/", "-_")

FORMS: dict[str, str | bytes] = {
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
    "lost plus": RAW.replace("+", " "),
    "lost plus without padding": RAW.rstrip("=").replace("+", " "),
    "lost plus between lines": LINES.replace("+", " "),
    "lost plus in a data URI": f"data:image/png;base64,{RAW.replace('+', ' ')}",
    "lost plus, escaped": f"data:image/png;base64,{quote(RAW.replace('+', ' '))}",
    "lines that end in blanks": LINES.replace("\r\n", " "),
    "lines that end in blanks, URL-safe": LINES.replace("\r\n", " ").translate(TO_URL_SAFE),
    "lines with indentation": LINES.replace("\r\n", "\n    "),
    "folded lines": LINES.replace("\r\n", "\r\n "),
    "blanks before line ends": LINES.replace("\r\n", " \n") + " \n",
    "data URI with a blank": f"data:image/png; base64,{RAW}",
    "data URI with blanks": f" data:image/png ; charset=utf-8 ; BASE64 , {RAW}\n",
    "data URI with a comma in quotes": f'data:image/png;name="a,b.png";base64,{RAW}',
    "bytes": RAW.encode(),
    "bytes of a data URI": f"data:image/png; base64,{RAW}".encode(),
    "data URI with escaped lines": f"data:image/png;base64,{quote(LINES)}",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_read(text: str | bytes) -> None:
    assert decode_base64(text) == DATA
    assert first_bytes(text, 100) == DATA[:100]


WRAPPED = [
    " ".join(PLAIN[at : at + width] for at in range(0, len(PLAIN), width)) for width in WIDTHS
]


@pytest.mark.parametrize("text", WRAPPED, ids=WIDTHS)
def test_blanks_between_lines_of_one_length_are_no_plus(text: str) -> None:
    """Also in a text that happens to hold none of + - _, which would tell."""
    assert decode_base64(text) == b"\x01" * 300


@pytest.mark.parametrize("length", range(300, 303))
@pytest.mark.parametrize("padding", ["=", ""])
def test_blanks_that_are_nowhere_in_particular_are_plus(length: int, padding: str) -> None:
    data = random.Random(length).randbytes(length)
    text = base64.b64encode(data).decode().replace("+", " ")
    assert text.count(" ") > 1
    assert decode_base64(text if padding else text.rstrip("=")) == data


def test_a_picture_of_many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces that are decoded meet anywhere."""
    monkeypatch.setattr(inline, "_PIECE", 7)
    assert decode_base64(LINES) == DATA
    for text in ("AAAAA===AAAA", "AAAAAA==", "AAAAAAA" + "=" * 20):
        with suppress(ImageRejected):
            assert decode_base64(text) == b"\0" * (len(text.rstrip("=")) * 3 // 4)
    with pytest.raises(ImageRejected):
        decode_base64("AAAAA===AAAA")


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_its_size_is_known_without_decoding(text: str) -> None:
    assert decoded_size(text) == len(DATA)


def test_the_size_of_what_cannot_be_decoded_is_about_that() -> None:
    assert decoded_size("") == 0
    assert decoded_size("data:no comma" * 40) == pytest.approx(390, abs=40)


REFUSED = {
    "path": "/etc/passwd!",
    "prose": "not base64 at all?",
    "prose of letters": "no picture",
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


@pytest.mark.parametrize("piece", ["%2B", "AB ", "A\n", "-", "%0a", " ", "ABCD ", "AB  \n"])
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
