"""Forms as the programs that are out there send them, read without a server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Request

from app.api.parsing.forms import read_form
from app.api.parsing.json_scan import LongString
from app.api.wire.requests import without_empty
from app.core.errors import InvalidRequest

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"  # valid UTF-8
URL = b"https://example.com/a.png"
B64 = base64.b64encode(PNG)


def part(disposition: str, body: bytes, *headers: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {disposition}", *headers]
    return b"--x\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"\r\n"


def read(
    *parts: bytes,
    content_type: str = "multipart/form-data; boundary=x",
    end: bytes = b"--x--\r\n",
    listed_image: bool = False,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    raw = b"".join(parts) + end

    async def receive() -> dict[str, Any]:
        return await anext(messages)

    async def sent() -> AsyncIterator[dict[str, Any]]:
        for start in range(0, len(raw), 65_536):
            yield {"type": "http.request", "body": raw[start : start + 65_536], "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    messages = sent()
    headers = [(b"content-type", content_type.encode("latin-1"))]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(read_form(request, 10**8, listed_image=listed_image))


FILES = {
    "curl -F image=@a.png": ('name="image"; filename="a.png"', PNG, "Content-Type: image/png"),
    "curl -F image=<a.png": ('name="image"', PNG),
    "node form-data with a Buffer": ('name="image"', PNG, "Content-Type: application/octet-stream"),
    "requests (None, bytes, type)": ('name="image"', PNG, "Content-Type: image/png"),
    "Go CreatePart": ("name=image", PNG, "Content-Type: image/jpeg; q=1"),
    ".NET ByteArrayContent": ("name=image", PNG),
    ".NET with a file name": ("name=image; filename=a.png; filename*=utf-8''a.png", PNG),
    "an encoded file name alone": ("name=image; filename*=utf-8''%C3%BC.png", PNG),
    "bytes that are UTF-8": ('name="image"', GIF),
    "text that says it is a picture": ('name="image"', b"abc", "Content-Type: IMAGE/PNG"),
    "an empty file name": ('name="image"; filename=""', PNG),
    "Retrofit": ('name="image"; filename="a"', PNG, "Content-Transfer-Encoding: binary"),
    "an old library": ('name="image"; filename="a"', PNG, "Content-Transfer-Encoding: 8BIT "),
}


@pytest.mark.parametrize("sent", FILES.values(), ids=FILES)
@pytest.mark.parametrize("field", ["image", "control_image"])
def test_a_picture_is_a_file(sent: tuple[Any, ...], field: str) -> None:
    disposition, body, *headers = sent
    fields, uploads = read(part(disposition.replace("image", field, 1), body, *headers))
    assert uploads == {field: body}
    assert fields.keys() == {field}


def test_a_file_in_base64_as_its_part_says() -> None:
    headers = ("Content-Type: image/png", "Content-Transfer-Encoding: base64")
    _, uploads = read(part('name="image"; filename="a.png"', base64.encodebytes(PNG), *headers))
    assert uploads == {"image": PNG}


TEXTS = {
    "a URL": ('name="image"', URL),
    "base64": ('name="image"', B64),
    ".NET StringContent": ("name=image", URL, "Content-Type: text/plain; charset=utf-8"),
    "Java's StringBody": ('name="image"', B64, "Content-Type: text/plain; charset=ISO-8859-1"),
    "nothing": ('name="image"', b""),
    "nothing, with a type": ('name="image"', b"", "Content-Type: application/octet-stream"),
    "text that is no ASCII": ('name="image"', "https://é.example/ü.png".encode()),
}


@pytest.mark.parametrize("sent", TEXTS.values(), ids=TEXTS)
def test_a_picture_is_a_text(sent: tuple[Any, ...]) -> None:
    disposition, body, *headers = sent
    assert read(part(disposition, body, *headers)) == ({"image": body.decode()}, {})


def test_a_long_text_stays_bytes() -> None:
    long = B64 * 1000
    fields, _ = read(part('name="image"', long))
    assert isinstance(fields["image"], LongString)
    assert fields["image"].to_bytes() == long


def test_a_file_wins_over_a_text() -> None:
    for order in (1, -1):
        parts = [part('name="image"', URL), part('name="image"', PNG)][::order]
        assert read(*parts) == ({"image": "a file"}, {"image": PNG})


def test_two_files_without_names_are_one_too_many() -> None:
    with pytest.raises(InvalidRequest, match="image: more than one file"):
        read(*[part('name="image"', PNG)] * 2)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (
            [part('name="image"; filename="a"', b"")],
            "image: the file is empty; a picture is needed",
        ),
        (
            [part('name="steps"; filename="a"', b"20")],
            "steps: a file is not allowed; only image may be one",
        ),
        (
            [part('name="image"; filename="a"', PNG)] * 2,
            "image: more than one file; one picture is needed",
        ),
    ],
)
def test_a_file_that_is_not_the_one_picture_is_refused(parts: list[bytes], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(*parts)
    assert refused.value.text == sentence


def test_a_file_input_in_which_nothing_was_chosen_is_left_out() -> None:
    empty = part('name="image"; filename=""', b"", "Content-Type: application/octet-stream")
    assert read(empty, part('name="prompt"', b"x")) == ({"prompt": "x"}, {})
    assert read(part('name="steps"; filename=""', b"")) == ({}, {})


def test_of_a_file_of_an_unknown_name_only_the_name_is_kept() -> None:
    assert read(part('name="other"; filename="a"', PNG)) == ({"other": "a file"}, {})


@pytest.mark.parametrize(("at", "is_file"), [(32_767, True), (32_768, False)])
def test_a_null_byte_in_the_first_32768_bytes_makes_a_file(at: int, is_file: bool) -> None:
    fields, uploads = read(part('name="image"', b"a" * at + b"\0" + b"a"))
    assert ("image" in uploads) is is_file
    assert fields["image"] == "a file" or isinstance(fields["image"], LongString)


@pytest.mark.parametrize(("length", "is_long"), [(32_768, False), (32_769, True)])
def test_a_text_of_more_than_32768_bytes_stays_bytes(length: int, is_long: bool) -> None:
    fields, _ = read(part('name="image"', b"a" * length))
    assert isinstance(fields["image"], LongString) is is_long


@pytest.mark.parametrize("kind", ["", '; filename="a"'])
@pytest.mark.parametrize(("many", "taken"), [(64, True), (65, False)])
def test_a_form_has_at_most_64_texts_and_64_files(kind: str, many: int, taken: bool) -> None:
    parts = [part(f'name="x{number}"{kind}', b"a") for number in range(many)]
    if taken:
        assert len(read(*parts)[0]) == 64
    else:
        with pytest.raises(InvalidRequest, match="^body: not valid multipart/form-data; Too many"):
            read(*parts)


@pytest.mark.parametrize("end", [b"", b"--x", b"--x-"])
def test_a_form_without_its_last_boundary_was_cut(end: bytes) -> None:
    with pytest.raises(InvalidRequest, match="; its last boundary is missing$"):
        read(part('name="prompt"', b"x"), end=end)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=x; charset=UTF-8",
        'multipart/form-data; charset="utf8"; boundary=x',
    ],
)
def test_a_form_may_say_that_it_is_utf_8(content_type: str) -> None:
    sent = part('name="prompt"', "é".encode())
    assert read(sent, content_type=content_type)[0] == {"prompt": "é"}


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "nonsense", "\0"])
def test_a_form_in_another_charset_is_refused(charset: str) -> None:
    content_type = f"multipart/form-data; boundary=x; charset={charset}"
    with pytest.raises(InvalidRequest, match="; its text must be UTF-8$"):
        read(part('name="prompt"', b"x"), content_type=content_type)


def test_a_form_without_a_boundary_is_none() -> None:
    with pytest.raises(InvalidRequest, match="^body: not valid multipart/form-data; Missing bound"):
        read(part('name="prompt"', b"x"), content_type="multipart/form-data")


PROMPTS = {
    "plain": (b"caf\xc3\xa9",),
    "a charset": (b"caf\xc3\xa9", "Content-Type: text/plain; charset=UTF-8"),
    "base64": (b"Y2Fmw6k=", "Content-Transfer-Encoding: base64"),
    "quoted-printable": (b"caf=C3=A9", "Content-Transfer-Encoding: quoted-printable"),
    "8bit": (b"caf\xc3\xa9", "Content-Transfer-Encoding: 8bit"),
}


@pytest.mark.parametrize("sent", PROMPTS.values(), ids=PROMPTS)
def test_a_text_is_read(sent: tuple[Any, ...]) -> None:
    assert read(part('name="prompt"', *sent))[0] == {"prompt": "café"}


REFUSED = {
    "Latin-1": (b"caf\xe9", "must be UTF-8"),
    "UTF-16": ("a cat".encode("utf-16-le"), "must be UTF-8", "Content-Type: a/b; charset=utf-16"),
    "UTF-7": (b"+AGE-", "must be UTF-8", "Content-Type: text/plain; charset=utf-7"),
    "no base64": (b"?", "prompt: is not in base64", "Content-Transfer-Encoding: base64"),
    "another coding": (b"a", "prompt: .* not understood", "Content-Transfer-Encoding: x-uuencode"),
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_a_text_that_could_be_another_one_is_refused(sent: tuple[Any, ...]) -> None:
    body, reason, *headers = sent
    with pytest.raises(InvalidRequest, match=reason):
        read(part('name="prompt"', body, *headers))


def test_a_text_of_any_length_keeps_no_more_than_a_parameter_may_have() -> None:
    fields, _ = read(part('name="prompt"', "é".encode() * 1_000_000))
    assert 100_000 < len(fields["prompt"]) < 1_000_000
    assert set(fields["prompt"]) == {"é"}


def test_empty_fields() -> None:
    """Left out, false for a switch, and wrong where something is needed."""
    fields = dict.fromkeys(
        ("prompt", "image", "steps", "base64", "preview", "webhook_url", "x"), ""
    )
    assert without_empty({**fields, "seed": "5"}) == {
        "prompt": "",
        "image": "",
        "base64": False,
        "preview": False,
        "seed": "5",
    }


# ---- controls

CONTROLS = b'[{"type": "canny"}, {"type": "pose", "strength": "1"}]'


def test_controls_are_json_and_their_pictures_files_or_texts() -> None:
    fields, uploads = read(
        part('name="controls[1].image"; filename="b.png"', PNG),
        part('name="controls"', CONTROLS),
        part('name="controls[0].image"', URL),
        part('name="controls[0].control_image"', b""),
    )
    assert fields == {
        "controls": [
            {"type": "canny", "image": URL.decode()},
            {"type": "pose", "strength": "1", "image": "a file"},
        ]
    }
    assert uploads == {"controls[1].image": PNG}


@pytest.mark.parametrize(
    "sent",
    [
        ('name="controls"', CONTROLS, "Content-Type: application/json"),
        ('name="controls"', b"\xef\xbb\xbf" + CONTROLS, "Content-Type: text/plain; charset=utf-8"),
        (
            'name="controls"',
            base64.b64encode(CONTROLS),
            "Content-Transfer-Encoding: base64",
        ),
    ],
)
def test_the_text_of_controls(sent: tuple[Any, ...]) -> None:
    fields, _ = read(part(*sent))
    assert [of["type"] for of in fields["controls"]] == ["canny", "pose"]


def test_an_empty_text_of_controls_is_left_out() -> None:
    fields, _ = read(part('name="controls"', b""))
    assert without_empty(fields) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[{", "not valid JSON; a list of 1 to 3 objects is needed"),
        (b"canny", "not valid JSON; a list of 1 to 3 objects is needed"),
        (b"[NaN]", "not valid JSON; a list of 1 to 3 objects is needed"),
        (b"[" * 100_000, "not valid JSON; a list of 1 to 3 objects is needed"),
        (b'["\xff"]', "not valid JSON; its text must be UTF-8"),
        (b"[" + b"1," * 400_001 + b"1]", "too many values; a list of 1 to 3 objects"),
    ],
)
def test_a_text_of_controls_that_is_no_json(text: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(part('name="controls"', text))
    assert refused.value.text.startswith(f"controls: {reason}")


def test_long_pictures_in_the_text_of_controls_stay_bytes() -> None:
    long = B64 * 40_000
    text = b'[{"type": "canny", "image": "' + long + b'"}]'
    fields, _ = read(part('name="controls"', text))
    image = fields["controls"][0]["image"]
    assert isinstance(image, LongString)
    assert image.to_bytes() == long


def test_controls_as_a_file_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="^controls: a file is not allowed"):
        read(part('name="controls"; filename="a.json"', CONTROLS))


def test_an_empty_file_of_a_control_is_refused_with_its_place() -> None:
    file = part('name="controls[0].image"; filename="a.png"', b"")
    with pytest.raises(InvalidRequest, match=r"^controls\[0\].image: the file is empty; "):
        read(part('name="controls"', CONTROLS), file)


@pytest.mark.parametrize("name", ["image[]", "image[0]", "image"])
def test_a_list_of_one_picture_is_the_picture_where_that_is_allowed(name: str) -> None:
    sent = part(f'name="{name}"; filename="a.png"', PNG)
    assert read(sent, listed_image=True) == ({"image": "a file"}, {"image": PNG})
    text = part(f'name="{name}"', URL)
    assert read(text, listed_image=True) == ({"image": URL.decode()}, {})
    if name != "image":
        assert read(text) == ({name: URL.decode()}, {})


@pytest.mark.parametrize(
    "bodies", [[PNG, PNG], [URL, URL], [PNG, URL], [URL, PNG]], ids=["files", "URLs", "1", "2"]
)
def test_a_list_of_several_pictures_is_refused(bodies: list[bytes]) -> None:
    parts = [part(f'name="image[{at}]"', body) for at, body in enumerate(bodies)]
    with pytest.raises(InvalidRequest, match="^image: more than one picture; one is needed"):
        read(*parts, listed_image=True)
    assert read(part('name="image"', b""), parts[0], listed_image=True)[0].keys() == {"image"}


# ---- loras


def test_loras_are_json() -> None:
    text = b'[{"name": "ink", "scale": 0.5}]'
    assert read(part('name="loras"', text))[0] == {"loras": [{"name": "ink", "scale": 0.5}]}
    assert without_empty(read(part('name="loras"', b""))[0]) == {}
    coded = part('name="loras"', b"W10=", "Content-Transfer-Encoding: base64")
    assert read(coded)[0] == {"loras": []}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"ink", "not valid JSON; a list of at most 4 objects is needed"),
        (b"\xff", "not valid JSON; its text must be UTF-8"),
    ],
)
def test_a_text_of_loras_that_is_no_json(text: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(part('name="loras"', text))
    assert refused.value.text == f"loras: {reason}"


def test_loras_as_a_file_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="^loras: a file is not allowed"):
        read(part('name="loras"; filename="a.safetensors"', b"x"))
