"""The parts of a form: their codings, their charsets, and how much of a text is kept."""

from __future__ import annotations

import base64

import pytest
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException

from app.api.parsing.form_parts import _MAX_TEXT, _utf_8, without_coding
from app.core.errors import InvalidRequest

TEXT = "café".encode()


def coded(coding: str, data: bytes, name: str = "prompt") -> bytes:
    return without_coding(name, Headers({"content-transfer-encoding": coding}), data)


def charset(name: str, data: bytes = TEXT) -> bytes:
    content_type = f"text/plain; charset={name}".encode()
    return _utf_8("prompt", [(b"content-type", content_type)], data)


@pytest.mark.parametrize("coding", ["", "7bit", "8bit", "binary", " Binary\t", "8BIT"])
def test_a_part_that_comes_as_it_is_stays_so(coding: str) -> None:
    assert coded(coding, b"=41\0") == b"=41\0"
    assert without_coding("prompt", Headers({}), b"=41\0") == b"=41\0"


@pytest.mark.parametrize(
    ("coding", "data", "plain"),
    [
        ("base64", base64.encodebytes(TEXT * 30), TEXT * 30),
        (" BASE64 ", b"Y2Fmw6k=", TEXT),
        ("quoted-printable", b"caf=C3=A9=\r\n", TEXT),
        ("Quoted-Printable", b"a_b", b"a_b"),
    ],
)
def test_an_old_coding_is_undone(coding: str, data: bytes, plain: bytes) -> None:
    assert coded(coding, data) == plain


@pytest.mark.parametrize("many", [64, 65])
def test_a_coding_that_is_not_understood_names_its_part_in_short(many: int) -> None:
    name = "n" * many
    with pytest.raises(InvalidRequest) as refused:
        coded("x-uuencode", b"", name)
    sentence = f"{'n' * 64}: its Content-Transfer-Encoding is not understood"
    assert refused.value.text == sentence
    with pytest.raises(InvalidRequest) as refused:
        coded("base64", b"?", name)
    assert refused.value.text == f"{'n' * 64}: is not in base64, as its part says"


@pytest.mark.parametrize("name", ["utf-8", "UTF8", "us-ascii", "ISO-8859-1", "cp1252", "nonsense"])
def test_a_charset_that_agrees_on_ascii_is_read_as_utf_8(name: str) -> None:
    assert charset(name) == TEXT


@pytest.mark.parametrize("name", ["utf-16", "utf-7", "utf-32", "cp037", "rot13", "\0"])
def test_a_charset_that_others_would_read_otherwise_is_refused(name: str) -> None:
    if name in ("rot13", "\0"):  # no charset to anybody
        assert charset(name) == TEXT
        return
    with pytest.raises(MultiPartException, match="^its text must be UTF-8$"):
        charset(name)


@pytest.mark.parametrize("data", [b"caf\xe9", b"\xff", b"\xc3"])
def test_a_text_that_is_no_utf_8_is_refused(data: bytes) -> None:
    with pytest.raises(MultiPartException, match="^its text must be UTF-8$"):
        charset("utf-8", data)


def test_half_of_a_character_at_the_end_is_let_go_where_a_text_was_cut() -> None:
    """Four bytes for each of the 100,001 characters that show that a prompt is too long."""
    assert _MAX_TEXT == 400_004
    whole = b"a" * 400_003
    assert charset("utf-8", whole + b"\xc3") == whole
    with pytest.raises(MultiPartException):
        charset("utf-8", whole[:-1] + b"\xc3")
