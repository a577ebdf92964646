"""Invalid input: a wrong body gets 400 at once, a wrong picture a FAILED request.

Every error is JSON with one sentence (tests.support.wire checks that).
"""

from __future__ import annotations

import base64
import json
import re
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from app.core.redis.connection import connect
from app.core.redis.keys import evaluation_seconds
from models.control_types import served_types
from models.spec import PROFILE_NAMES, SAMPLER_NAMES, SCHEDULE_NAMES
from tests.support.bodies import PAGE_VALUES, small
from tests.support.pictures import (
    PictureHost,
    Respond,
    astronaut,
    base64_of,
    encoded,
    opened,
    redirect,
)
from tests.support.servers import Server, free_port, running_api
from tests.support.wire import V1, V2, finished, picture, rejected, wait_for_end

PATHS = pytest.mark.parametrize("path", [V1, V2], ids=["v1", "v2"])
JSON = {"content-type": "application/json"}
MISSING = object()

SWITCH = ("true and false",)
ALLOWED: dict[str, tuple[str, ...]] = {
    "image": ("string",),
    "prompt": ("string",),
    "sampler": SAMPLER_NAMES,
    "scheduler": SCHEDULE_NAMES,
    "seed": (f"-1 to {2**63 - 1}", "integer"),
    "base64": SWITCH,
    "cn_stop": ("0 to 1",),
    "cn_strength": ("0 to 2",),
    "cn_type": served_types("demo"),
    "custom_height": ("64 to 4096", "integer"),
    "custom_width": ("64 to 4096", "integer"),
    "guidance": ("1 to 15",),
    "image_format": ("jpeg", "png", "webp"),
    "profile": PROFILE_NAMES,
    "quality": ("10 to 100", "integer"),
    "samples": ("1 to 4", "integer"),
    "steps": ("15 to 75", "integer"),
    "use_input_img_dimension": SWITCH,
}
"""What the refusal of a parameter has to say is allowed."""

# tests/unit/app/api/test_schemas.py has every kind of wrong value; here is one for each way to be
# wrong: missing, out of range, not in the enum, of another type, text that is no number.
WRONG: dict[str, list[Any]] = {
    "image": [MISSING, None, 5],
    "prompt": [MISSING, " \n\t", "x" * 100_001, "\ud800"],
    "sampler": ["nope", 5],
    "scheduler": ["Simple"],
    "seed": [2**63, 10**400],
    "base64": ["perhaps"],
    "cn_stop": [1.01],
    "cn_strength": [-0.01],
    "cn_type": ["edge"],
    "custom_height": [63, {}],
    "custom_width": [4097],
    "guidance": ["nan"],
    "image_format": ["gif"],
    "profile": ["warp"],
    "quality": [101],
    "samples": [0, "20.5"],
    "steps": [76, True],
    "use_input_img_dimension": [2],
}


def wrong_values() -> list[Any]:
    cases = []
    for name, values in WRONG.items():
        for value in values:
            shown = "missing" if value is MISSING else ascii(value)[:24]
            cases.append(pytest.param(name, value, id=f"{name}={shown}"))
    return cases


def refused_body(http: httpx.Client, path: str, raw: bytes) -> str:
    """The sentence of a 400 that made no request."""
    answer = http.post(path, content=raw, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"error"}
    assert "x-request-id" not in answer.headers
    return str(answer.json()["error"])


@PATHS
@pytest.mark.parametrize(("name", "value"), wrong_values())
def test_wrong_value(http: httpx.Client, path: str, name: str, value: Any) -> None:
    """Out of range, not in the enum, of another type, missing: 400 that says what is allowed."""
    body = small()
    body.pop(name, None)
    if value is not MISSING:
        body[name] = value
    error = refused_body(http, path, json.dumps(body).encode())
    assert error.startswith(f"{name}: ")
    assert [word for word in ALLOWED[name] if word not in error] == []
    assert len(error) < 1000


@PATHS
def test_several_wrong_values_are_all_named(http: httpx.Client, path: str) -> None:
    raw = json.dumps(small(steps=1, samples=9, cn_type="x")).encode()
    error = refused_body(http, path, raw)
    assert [name for name in ("steps: ", "samples: ", "cn_type: ") if name not in error] == []


@PATHS
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"prompt=x",
        b"[]",
        b'[{"prompt": "x"}]',
        b'"x"',
        b"null",
        b"7",
        b'{"prompt": "x",}',
        b'{"prompt": "\xff"}',
        b'{"cn_stop": NaN}',
        b'{"seed": Infinity}',
        b'{"guidance": -Infinity}',
        b"[" * 200_000,
    ],
    ids=lambda raw: ascii(raw[:24]),
)
def test_malformed_body(http: httpx.Client, path: str, raw: bytes) -> None:
    """What is not a JSON object: 400, NaN and the infinities included."""
    assert refused_body(http, path, raw).startswith("body: ")


@PATHS
@pytest.mark.parametrize("name", ["seed", "cn_stop", "steps"])
def test_numbers_too_large_for_a_float(http: httpx.Client, path: str, name: str) -> None:
    raw = json.dumps(small())[:-1] + f', "{name}": 1e999}}'
    assert refused_body(http, path, raw.encode()).startswith(f"{name}: ")


def test_numbers_and_switches_as_strings(http: httpx.Client) -> None:
    """ "20" is a number and "false" a switch: the same picture as without the quotes."""
    values = {
        "seed": 652889,
        "cn_stop": 0.5,
        "cn_strength": 0.45,
        "guidance": 3.5,
        "quality": 95,
        "steps": 20,
        "samples": 1,
        "custom_width": 96,
        "custom_height": 64,
        "base64": False,
        "use_input_img_dimension": False,
    }
    quoted = {name: json.dumps(value) for name, value in values.items()}
    assert picture(http, small(**quoted)) == picture(http, small(**values))


def test_the_numbers_one_and_zero_are_booleans(http: httpx.Client) -> None:
    """The oldest samples send `base64: 1`."""
    assert http.post(V1, json=small(base64=1)).headers["content-type"] == "application/json"
    assert http.post(V1, json=small(base64=0)).headers["content-type"] == "image/jpeg"


def test_unknown_keys_are_ignored(http: httpx.Client) -> None:
    unknown = {"negative_prompt": "blur", "timeout": 7, "id": {"a": [1]}, "": None, "STEPS": 1}
    assert picture(http, small(seed=1, **unknown)) == picture(http, small(seed=1))


def test_null_counts_as_left_out(http: httpx.Client) -> None:
    """Of what may be left out: the same picture as without it."""
    nothing = dict.fromkeys(
        (*PAGE_VALUES, "cn_type", "profile", "preview", "webhook_url", "control_image")
    )
    body = {"image": base64_of(astronaut((64, 64))), "prompt": "an astronaut", "seed": 3}
    assert picture(http, {**nothing, **body}) == picture(http, body)


# ---- multipart/form-data


FORM_FIELDS = {"prompt": "an astronaut", "cn_type": "canny", "steps": "15", "seed": "5"}


def form(http: httpx.Client, path: str, **parts: Any) -> httpx.Response:
    return http.post(path, data={**FORM_FIELDS, **parts.pop("data", {})}, **parts)


def test_form_with_a_file_is_the_same_as_json(http: httpx.Client) -> None:
    """`image` as a file, everything else as text: the picture of the JSON request, on v1 and v2."""
    expected = picture(http, small(seed=5))
    upload = {"image": ("a photo.png", encoded(astronaut((128, 128))), "image/png")}
    answer = form(http, V1, files=upload)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == expected
    submitted = form(http, V2, files=upload)
    result = wait_for_end(http, submitted.json()["response_url"]).json()
    assert http.get(result["output"]).content == expected


def test_form_with_image_as_text(http: httpx.Client, host: PictureHost) -> None:
    """In a form too, `image` may be a URL or base64."""
    url = host.serve("/form.png", encoded(astronaut((128, 128))))
    expected = picture(http, small(seed=5))
    for text in (url, base64_of(astronaut((128, 128)))):
        # A form needs a file part to be multipart in this client; an empty name makes it a text.
        answer = form(http, V1, files={"image": (None, text)})
        assert answer.content == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("steps", "abc"), ("steps", "14"), ("cn_type", "edge"), ("base64", "x")),
        *(("prompt", " "), ("prompt", ""), ("profile", " ")),
    ],
)
@PATHS
def test_wrong_text_in_a_form(http: httpx.Client, path: str, name: str, value: str) -> None:
    upload = {"image": ("a.png", encoded(astronaut((64, 64))))}
    answer = form(http, path, data={name: value}, files=upload)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{name}: ")


def test_empty_fields_of_a_form_count_as_left_out(http: httpx.Client) -> None:
    """As PHP's curl sends null and false: `base64=` is false, and so is a switch that is on."""
    upload = {"image": ("a.png", encoded(astronaut((64, 64))), "image/png")}
    empty = dict.fromkeys((*PAGE_VALUES, "profile", "preview", "webhook_url", "control_image"), "")
    given = {"steps": "15", "seed": "5", "custom_width": "96", "custom_height": "64"}
    made = form(http, V1, data={**empty, **given}, files=upload)
    assert made.headers["content-type"] == "image/jpeg"
    assert opened(made.content).size == (96, 64)


@PATHS
def test_form_without_image(http: httpx.Client, path: str) -> None:
    answer = form(http, path, files={"note": (None, "x")})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("image: ")


@PATHS
def test_empty_file_in_a_form(http: httpx.Client, path: str) -> None:
    answer = form(http, path, files={"image": ("a.png", b"")})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("image: ")


def test_a_form_as_a_browser_sends_it(http: httpx.Client) -> None:
    """A file input without a choice is no file; a file wins over an empty text of its name."""
    expected = picture(http, small(seed=5))
    data = encoded(astronaut((128, 128)))
    for parts in (
        [("image", ("a.png", data)), ("image", (None, ""))],
        [("image", (None, "")), ("image", ("a.png", data))],
    ):
        assert form(http, V1, files=parts).content == expected
    # This client leaves an empty file name out, a browser does not.
    fields = {**FORM_FIELDS, "image": base64_of(astronaut((128, 128)))}
    lines = [f'name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    lines.append('name="image"; filename=""\r\nContent-Type: application/octet-stream\r\n\r\n')
    body = "".join(f"--x\r\nContent-Disposition: form-data; {line}\r\n" for line in lines)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    unchosen = http.post(V1, content=f"{body}--x--\r\n".encode(), headers=headers)
    assert unchosen.content == expected
    twice = form(http, V1, files=[("image", ("a.png", data)), ("image", ("b.png", data))])
    assert twice.status_code == 400
    assert twice.json() == {"error": "image: more than one file; one picture is needed"}


def test_unknown_files_in_a_form_are_ignored(http: httpx.Client) -> None:
    """Unknown keys are ignored, whatever they hold."""
    upload = {"image": ("a.png", encoded(astronaut((128, 128)))), "mask": ("m.png", b"mask")}
    assert form(http, V1, files=upload).content == picture(http, small(seed=5))


@PATHS
def test_a_file_where_text_is_needed(http: httpx.Client, path: str) -> None:
    upload = {"image": (None, base64_of(astronaut((64, 64)))), "steps": ("steps.txt", b"20")}
    answer = form(http, path, files=upload)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("steps: ")


@PATHS
@pytest.mark.parametrize(
    ("content_type", "raw"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"garbage"),
        ("multipart/form-data; boundary=x", b"--x\r\n\x00: y\r\n\r\nz\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nz"),
        ("multipart/form-data; boundary=x", b""),
    ],
)
def test_malformed_form(http: httpx.Client, path: str, content_type: str, raw: bytes) -> None:
    answer = http.post(path, content=raw, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}


def test_a_file_that_is_no_picture(http: httpx.Client) -> None:
    """Bytes that are no picture: 400 on v1, FAILED on v2, with the same reason as for base64."""
    reason = rejected(http, small(image=base64.b64encode(b"not a picture").decode()))
    upload = {"image": ("a.png", b"not a picture")}
    v1 = form(http, V1, files=upload)
    assert (v1.status_code, v1.json()["error"]) == (400, reason)
    v2 = wait_for_end(http, form(http, V2, files=upload).json()["status_url"])
    assert (v2.status_code, v2.json()["error"]) == (422, reason)


# ---- pictures that cannot be had or read


def truncated(picture_format: str) -> str:
    data = encoded(astronaut((128, 128)), picture_format)
    return base64.b64encode(data[: len(data) // 2]).decode()


UNREADABLE = {
    "prose": "this is neither of them!",
    "an empty data URI": "data:image/png;base64,",
    "a data URI without base64": "data:image/png,abc",
    "a data URI with something else": "data:image/png;base64,!!!",
    "text": base64.b64encode(b"not a picture").decode(),
    "HTML": base64.b64encode(b"<html><body>404</body></html>").decode(),
    "SVG": base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(),
    "half a PNG": truncated("PNG"),
    "half a JPEG": truncated("JPEG"),
    "half a WebP": truncated("WEBP"),
    "a path": "/etc/passwd",
    "a relative path": "../../etc/passwd",
    "a path of another system": "C:\\picture.png",
}


@pytest.mark.parametrize("image", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_picture(http: httpx.Client, image: str) -> None:
    """Not a picture, or half of one: 400 on v1, FAILED on v2, the same reason, nothing of a file
    of the server."""
    reason = rejected(http, small(image=image))
    assert "Internal" not in reason
    assert "root:" not in reason


@pytest.mark.parametrize("size", [(1, 1), (1000, 1), (1, 1000)])
@pytest.mark.parametrize("cn_type", served_types("demo"))
def test_a_picture_of_hardly_any_pixels(
    http: httpx.Client, cn_type: str, size: tuple[int, int]
) -> None:
    """Not bad at all: an output of the same size."""
    image = base64_of(astronaut(size))
    result = finished(http, small(image=image, cn_type=cn_type))
    assert (result["images"][0]["width"], result["images"][0]["height"]) == size


def test_a_picture_with_too_many_pixels(http: httpx.Client) -> None:
    """Ten kilobytes that would unpack to 100 megapixels are refused by their header."""
    bomb = encoded(Image.new("1", (10_000, 10_000)))
    assert len(bomb) < 100_000
    reason = rejected(http, small(image=base64.b64encode(bomb).decode()))
    assert "10000x10000" in reason
    assert "67108864" in reason


def drip(handler: BaseHTTPRequestHandler) -> None:
    """One byte more than 32 MiB, as far as the other side wants to hear it."""
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        for _ in range(32):
            handler.wfile.write(bytes(1024 * 1024))
        handler.wfile.write(b"!")


def test_a_file_with_too_many_bytes(http: httpx.Client, host: PictureHost) -> None:
    reason = rejected(http, small(image=host.answer("/huge.png", drip)))
    assert "33554432" in reason


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"\x89PNG")


def silent(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


MISBEHAVING: dict[str, tuple[Respond, str]] = {
    "cut off": (cut_off, "ended early, after 4 of 1000 bytes"),
    "no answer": (silent, "could not be reached"),
    "redirect to nowhere": (redirect(None), "redirects to nowhere"),
    "redirect to a malformed URL": (redirect("http://["), "malformed"),
    "redirect to another scheme": (redirect("file:///etc/passwd"), "only http and https"),
    "redirect to itself": (redirect(""), "redirects more than"),
}


@pytest.mark.parametrize("name", MISBEHAVING)
def test_host_that_misbehaves(http: httpx.Client, host: PictureHost, name: str) -> None:
    """A download that goes wrong: the reason is named, 400 on v1 and FAILED on v2."""
    respond, expected = MISBEHAVING[name]
    url = host.answer(f"/{name.replace(' ', '-')}", respond)
    assert expected in rejected(http, small(image=url))


def test_a_redirect_to_the_picture_is_followed(http: httpx.Client, host: PictureHost) -> None:
    host.serve("/there.png", encoded(astronaut((128, 128))))
    url = host.answer("/here", redirect("/there.png"))
    assert picture(http, small(image=url, seed=5)) == picture(http, small(seed=5))


@PATHS
def test_a_url_that_is_too_long(http: httpx.Client, host: PictureHost, path: str) -> None:
    raw = json.dumps(small(image=f"{host.origin}/{'a' * 8192}")).encode()
    assert refused_body(http, path, raw) == "image: a URL has at most 8192 characters"


def test_missing_and_unreachable(http: httpx.Client, host: PictureHost) -> None:
    """404, a closed port, a name that does not exist: each with its own reason."""
    reasons = [
        rejected(http, small(image=f"{host.origin}/no-such-picture.png")),
        rejected(http, small(image=f"http://127.0.0.1:{free_port()}/x.png")),
        rejected(http, small(image="http://no-such-host.invalid/x.png")),
    ]
    assert "404" in reasons[0]
    assert "could not be reached" in reasons[1]
    assert "does not resolve" in reasons[2]


PRIVATE = [
    "http://10.0.0.1/x.png",
    "http://10.0.0.1:8080/x.png",
    "http://10.0.0.1:6379/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::a00:1]/",
    "http://[fd00::1]/",
    "http://0/",
    "http://0.0.0.0/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://localhost/",
    "HTTP://LOCALHOST:8080/",
    "http://user:secret@10.0.0.1/",
    "http://127.0.0.1@10.0.0.1/",
    "https://10.0.0.1/",
    "file:///etc/passwd",
    "ftp://10.0.0.1/x.png",
    "gopher://10.0.0.1/",
    "unix:///var/run/docker.sock",
]


def assert_no_address(sentence: str) -> None:
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|::|localhost|secret", sentence), sentence


@pytest.mark.parametrize("url", PRIVATE)
def test_private_addresses_are_refused(http: httpx.Client, url: str) -> None:
    """What is not the public internet is not fetched, in whatever spelling, and the text says
    neither what a name resolves to nor what was found there."""
    reason = rejected(http, small(image=url))
    assert re.search("not allowed|only http and https|must not carry credentials", reason)
    assert_no_address(reason)


@pytest.mark.parametrize(
    "target", ["http://10.0.0.1/", "http://[::1]/", "http://localhost:{port}/"]
)
def test_redirects_to_private_addresses_are_refused(
    http: httpx.Client, host: PictureHost, target: str
) -> None:
    """A host that may be fetched from cannot send the server to one that may not."""
    location = target.format(port=urlsplit(host.origin).port) + "secret.png"
    host.serve("/secret.png", encoded(astronaut((64, 64))))
    url = host.answer("/to-private", redirect(location))
    reason = rejected(http, small(image=url))
    assert "not allowed" in reason
    assert_no_address(reason)
    assert "/secret.png" not in host.requests


# ---- limits of the whole body, and everything else that is no endpoint


@PATHS
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_body_too_large(strict: httpx.Client, path: str, chunked: bool) -> None:
    """More than MAX_BODY_BYTES: 413 as JSON, whether or not the length was declared."""
    raw = b" " * 100_001
    answer = strict.post(path, content=iter([raw]) if chunked else raw, headers=JSON)
    assert answer.status_code == 413
    assert "100000" in answer.json()["error"]


@PATHS
def test_form_too_large(strict: httpx.Client, path: str) -> None:
    answer = form(strict, path, files={"image": ("a.png", bytes(100_001))})
    assert answer.status_code == 413


@PATHS
def test_custom_size_beyond_the_servers_pixels(strict: httpx.Client, path: str) -> None:
    """Inside each range but more than MAX_PIXELS together: 400 with the largest of the shape."""
    size = {"custom_width": 1024, "custom_height": 130}
    answer = strict.post(path, json=small(use_input_img_dimension=False, **size))
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "custom_width: 1024x130 is not allowed; allowed are at most 65536 pixels, "
        "in this shape 718x91"
    }


def test_the_size_that_a_refusal_names_is_taken(strict: httpx.Client, http: httpx.Client) -> None:
    size = {"custom_width": 718, "custom_height": 91}
    submitted = strict.post(V2, json=small(use_input_img_dimension=False, **size))
    result = wait_for_end(http, f"/v2/requests/{submitted.json()['request_id']}").json()
    assert (result["images"][0]["width"], result["images"][0]["height"]) == (718, 91)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        *("/no-such-path", "/v1", "/v2", "/v1/requests", "/v2/requests", "/v2/requests//status"),
        *("/v1/no-such-model/x", "/files/x", "/files/x/y", "/%00", "/%ff", "/..%2f..%2fetc/passwd"),
        *("/docs", "/redoc", "/v1/flux-controlnet/x", "/v2/flux-controlnet/x"),
    ],
)
def test_paths_that_are_none(http: httpx.Client, method: str, path: str) -> None:
    """404 or 405 as JSON, whatever the verb."""
    assert http.request(method, path).status_code in (404, 405)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
@PATHS
def test_other_verbs_on_the_endpoints(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_the_document_promises_no_detail(http: httpx.Client) -> None:
    """/openapi.json describes errors as they are: `error`, never a list of details."""
    document = http.get("/openapi.json").json()
    assert {"/v1/flux-controlnet", "/v2/flux-controlnet"} <= document["paths"].keys()
    assert "HTTPValidationError" not in json.dumps(document)


def test_a_good_request_still_works_after_all_this(http: httpx.Client) -> None:
    assert finished(http, small())["status"] == "COMPLETED"


@PATHS
def test_a_request_that_cannot_end_in_time_is_refused_at_once(server: Server, path: str) -> None:
    """No machine makes four pictures of 4096x4096 with 149 evaluations each in a second."""
    size = {"use_input_img_dimension": False, "custom_width": 4096, "custom_height": 4096}
    body = small(**size, sampler="dpmpp_sde", steps=75, samples=4)
    with (
        running_api(server.redis_url, GENERATE_TIMEOUT_S="1") as url,
        httpx.Client(base_url=url, headers=server.headers, timeout=60) as http,
    ):
        refused = http.post(path, json=body)
    assert refused.status_code == 400
    sentence = refused.json()["error"]
    assert sentence.startswith("steps: 75 steps of dpmpp_sde at 4096x4096 with samples 4 take ")
    assert "allowed are at most 1 s, that is" in sentence


def test_a_request_that_takes_too_long_by_the_measured_time(
    http: httpx.Client, host: PictureHost, server: Server
) -> None:
    """At once with a custom size, after the download where the picture decides the size."""
    square = {"use_input_img_dimension": False, "custom_width": 512, "custom_height": 512}
    finished(http, small(**square))
    with connect(server.redis_url) as redis:
        deadline = time.monotonic() + 10  # it is measured after it is COMPLETED
        while not redis.exists(evaluation_seconds("demo", "exact")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    time.sleep(0.6)  # the api may know the measurements of half a second ago
    long = {"sampler": "dpmpp_sde", "steps": 75, "samples": 4}
    size = {"use_input_img_dimension": False, "custom_width": 4096, "custom_height": 4096}
    refused = http.post(V2, json=small(**size, **long))
    assert refused.status_code == 400
    url = host.serve("/large.png", encoded(Image.new("RGB", (4096, 4096), "grey")))
    body = {**small(**long), "image": url}
    submitted = http.post(V2, json=body)
    assert submitted.status_code == 200
    status = wait_for_end(http, submitted.json()["status_url"])
    assert status.status_code == 422
    v1 = http.post(V1, json=body)
    assert v1.status_code == 400
    for sentence in (refused.json()["error"], status.json()["error"], v1.json()["error"]):
        assert sentence.startswith("steps: 75 steps of dpmpp_sde at 4096x4096 with samples 4 take")
