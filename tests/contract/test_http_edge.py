"""The edge of the HTTP server: hostile and malformed connections, and headers of every response.

Raw sockets; no workers are needed.
"""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path

import pytest
from redis import Redis

from app.api.http.raw_errors import MAX_HEAD_BYTES, MAX_HEADERS
from tests.support.raw import Answer, answers, connected, everything, trickle
from tests.support.servers import a_key, running_api, running_redis

MAX_BODY = 100_000
BODY = json.dumps({"image": "aGVsbG8=", "prompt": "x"}).encode()


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data_dir: Path = tmp_path_factory.mktemp("edge")
    with running_redis(data_dir) as url:
        yield url


@pytest.fixture(scope="module")
def key(redis_url: str) -> str:
    return a_key(redis_url)


@pytest.fixture(scope="module")
def patient(redis_url: str) -> Iterator[str]:
    """An api whose deadlines no test reaches."""
    with running_api(redis_url, ready=False, MAX_BODY_BYTES=str(MAX_BODY)) as url:
        yield url


@pytest.fixture(scope="module")
def strict(redis_url: str) -> Iterator[str]:
    """An api that waits no longer than a blink."""
    limits = {"HEAD_TIMEOUT_S": "0.3", "BODY_TIMEOUT_S": "0.3"}
    with running_api(redis_url, ready=False, **limits) as url:
        yield url


def post(key: str, *headers: str, body: bytes = b"") -> bytes:
    """A submission whose framing is up to the test."""
    fixed = ("POST /v2/flux-controlnet HTTP/1.1", "host: localhost", f"x-api-key: {key}")
    lines = [*fixed, "content-type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def exchange(url: str, raw: bytes) -> list[Answer]:
    """Send `raw` and return all responses until the server closes the connection."""
    with connected(url) as connection:
        connection.sendall(raw)
        return answers(everything(connection))


def ask(url: str, path: str) -> Answer:
    raw = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    (answer,) = exchange(url, raw.encode())
    return answer


# ---- time


def test_a_head_that_comes_byte_by_byte_is_cut_off(strict: str) -> None:
    with connected(strict) as connection:
        trickle(connection, [b"GET /health/live HTTP/1.1\r\nx-slow: ", *repeat(b"a", 10_000)])
        (answer,) = answers(everything(connection))
    assert (answer.status, answer.error) == (408, "The request did not arrive in time")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("framing", ["content-length: 90000", "transfer-encoding: chunked"])
def test_a_body_that_comes_byte_by_byte_is_cut_off(strict: str, key: str, framing: str) -> None:
    piece = b"1\r\na\r\n" if "chunked" in framing else b"a"
    with connected(strict) as connection:
        trickle(connection, [post(key, framing), *repeat(piece, 10_000)])
        (answer,) = answers(everything(connection))
    assert answer.status == 408


def test_a_refused_body_is_cut_off_too(strict: str) -> None:
    """Without a valid key the answer is there at once; the rest of the body is no way to stay."""
    with connected(strict) as connection:
        connection.sendall(post("SG_wrong", "content-length: 90000"))
        received = connection.recv(65536)
        for _ in range(10_000):
            trickle(connection, [b"a"])
            try:
                if not connection.recv(1, socket.MSG_DONTWAIT):
                    break
            except BlockingIOError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the connection is still there")
    (answer,) = answers(received)
    assert answer.status == 401


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_a_connection_without_a_request_is_closed(strict: str, sent: bytes) -> None:
    with connected(strict) as connection:
        trickle(connection, [sent])
        assert everything(connection) == b""


def test_empty_lines_after_an_answer_do_not_hold_a_connection(strict: str) -> None:
    with connected(strict) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        received = connection.recv(65536)
        trickle(connection, repeat(b"\r\n", 10_000))
        (answer,) = answers(received + everything(connection))
    assert answer.status == 200


def test_a_client_that_takes_no_answer_is_cut_off(strict: str) -> None:
    """It asks and never reads, until its side is full and so is the server's."""
    request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with connected(strict) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(ConnectionError):
            ask_for_ever(connection, request)


def ask_for_ever(connection: socket.socket, request: bytes) -> None:
    while True:
        connection.sendall(request)
        connection.recv(1, socket.MSG_PEEK)


# ---- size


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health/live HTTP/1.1\r\nx-long: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nx-long: " + b"a" * MAX_HEAD_BYTES,
        b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    ],
    ids=["a long header", "one without an end", "a long path", "many headers"],
)
def test_a_large_head_is_431(patient: str, head: bytes) -> None:
    (answer,) = exchange(patient, head)
    assert answer.status == 431
    assert str(MAX_HEAD_BYTES) in answer.error


def test_a_head_within_the_bounds_is_taken(patient: str) -> None:
    headers = b"a: b\r\n" * (MAX_HEADERS - 3) + b"x-long: " + b"a" * 30_000 + b"\r\n"
    raw = b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n" + headers + b"\r\n"
    (answer,) = exchange(patient, raw)
    assert answer.status == 200


@pytest.mark.parametrize(
    "framing", ["a: b\r\n", "1;" + "x" * 60, "x" * 60], ids=["trailers", "extensions", "size"]
)
def test_a_body_of_nothing_but_framing_is_refused(patient: str, key: str, framing: str) -> None:
    """Trailers and chunk extensions have no length of their own, and no handler reads them."""
    start = b"0\r\n" if framing.startswith("a") else b""
    flood = start + framing.encode() * 20_000
    with connected(patient) as connection:
        trickle(connection, [post(key, "transfer-encoding: chunked"), flood])
        (answer,) = answers(everything(connection))
    assert answer.status in (400, 431)


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data; boundary=x"], ids=["json", "form"]
)
def test_a_large_body_is_413(patient: str, key: str, content_type: str, chunked: bool) -> None:
    data = b"--x\r\n" + b"a" * MAX_BODY
    headers = f"content-type: {content_type}\r\nconnection: close\r\n"
    raw = f"POST /v2/flux-controlnet HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n{headers}"
    if chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        raw += "transfer-encoding: chunked\r\n\r\n"
    else:
        body = data
        raw += f"content-length: {len(data)}\r\n\r\n"
    (answer,) = exchange(patient, raw.encode() + body)
    assert answer.status == 413
    assert str(MAX_BODY) in answer.error


def test_a_length_that_is_too_small_cuts_the_body(patient: str, key: str) -> None:
    """What is beyond the declared length is no part of it, and ends the connection."""
    (answer,) = exchange(patient, post(key, "content-length: 5", body=BODY))
    assert answer.status == 400
    assert answer.error.startswith("body: ")
    assert answer.headers["connection"] == "close"


def test_a_length_that_is_too_large_waits_for_the_rest(strict: str, key: str) -> None:
    (answer,) = exchange(strict, post(key, f"content-length: {len(BODY) + 1}", body=BODY))
    assert answer.status == 408


@pytest.mark.parametrize(
    "framing",
    [
        ("content-length: -1",),
        ("content-length: 99999999999999999999999",),
        ("content-length: 1, 1",),
        ("content-length: 5", "content-length: 6"),
        ("content-length: 5", "transfer-encoding: chunked"),
        ("transfer-encoding: chunked, identity",),
        ("transfer-encoding: \x0bchunked",),
    ],
)
def test_ambiguous_framing_is_refused(patient: str, key: str, framing: tuple[str, ...]) -> None:
    """What two readers could read as two different requests is none."""
    (answer,) = exchange(patient, post(key, *framing, body=b"5\r\nhello\r\n0\r\n\r\n"))
    assert answer.status == 400
    assert answer.error


def test_requests_sent_ahead_are_not_kept(patient: str) -> None:
    """One answer at a time: a thousand requests in one go are no thousand requests in memory."""
    one = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
    (answer,) = exchange(patient, one * 1000)
    assert answer.status == 200
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("offer", ["h2c", "websocket", "x"])
@pytest.mark.parametrize("framing", ["content-length", "chunked"])
@pytest.mark.parametrize("apart", [False, True], ids=["in one go", "body later"])
def test_an_offer_of_another_protocol_is_declined(
    patient: str, offer: str, framing: str, apart: bool
) -> None:
    """Java's client and `curl --http2` make it with every request; the body is no second one."""
    inside = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inside), inside)
    body = chunks if framing == "chunked" else inside
    length = (
        "transfer-encoding: chunked" if framing == "chunked" else f"content-length: {len(body)}"
    )
    head = post("no key", f"upgrade: {offer}", "connection: upgrade", length)
    with connected(patient) as connection:
        connection.sendall(head if apart else head + body)
        if apart:
            trickle(connection, [body])
        connection.sendall(post("no key", "content-length: 0", "connection: close"))
        first, *rest = answers(everything(connection))
    assert first.status == 401
    assert {answer.status for answer in rest} <= {401}


def test_the_body_behind_an_offer_is_read(patient: str, key: str) -> None:
    offers = "connection: upgrade, http2-settings, close", "upgrade: h2c", "http2-settings: AAMA"
    (answer,) = exchange(patient, post(key, *offers, f"content-length: {len(BODY)}", body=BODY))
    assert answer.status == 200
    assert json.loads(answer.body)["status"] == "QUEUED"


@pytest.mark.parametrize(
    ("hosts", "status"),
    [(b"", 400), (b"host: localhost\r\nhost: evil.example\r\n", 400), (b"host: a\r\n", 200)],
)
def test_exactly_one_host_is_needed(patient: str, hosts: bytes, status: int) -> None:
    raw = b"GET /health/live HTTP/1.1\r\n" + hosts + b"connection: close\r\n\r\n"
    (answer,) = exchange(patient, raw)
    assert answer.status == status
    (older,) = exchange(patient, b"GET /health/live HTTP/1.0\r\n\r\n")
    assert older.status == 200


# ---- values of headers


@pytest.mark.parametrize("space", [" ", "\t", " \t \t"], ids=ascii)
@pytest.mark.parametrize("place", ["before", "behind"])
def test_white_space_around_a_value_is_no_part_of_it(
    patient: str, key: str, space: str, place: str
) -> None:
    """RFC 9110, 5.5: the key, the host, the type and the idempotency key are the same without."""
    values = {
        "host": "localhost",
        "x-api-key": key,
        "content-type": "application/json",
        "idempotency-key": f"white-{space.encode().hex()}-{place}",
        "content-length": str(len(BODY)),
        "connection": "close",
    }
    spaced = {name: space + of if place == "before" else of + space for name, of in values.items()}
    ids = []
    for headers in (values, spaced):
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        raw = f"POST /v2/flux-controlnet HTTP/1.1\r\n{head}\r\n".encode() + BODY
        (answer,) = exchange(patient, raw)
        assert answer.status == 200, answer.body
        found = json.loads(answer.body)
        assert found["status_url"].startswith("http://localhost/v2/requests/")
        ids.append(found["request_id"])
    assert ids[0] == ids[1]


@pytest.mark.parametrize("port", ["\xb2", "65536", "+80", "8_0", "x", "80:80"], ids=ascii)
def test_a_host_with_no_port_is_400(patient: str, port: str) -> None:
    raw = f"GET /health/live HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n".encode("latin-1")
    (answer,) = exchange(patient, raw)
    assert answer.status == 400
    assert answer.error.startswith("Host: ")
    assert_safe(answer)


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip", "identity", "x-mine, chunked"])
def test_an_unknown_transfer_coding_is_501(patient: str, key: str, coding: str) -> None:
    framing = f"transfer-encoding: {coding}"
    (answer,) = exchange(patient, post(key, framing, body=b"5\r\nhello\r\n0\r\n\r\n"))
    assert (answer.status, answer.error) == (501, "Transfer-Encoding: only chunked is understood")
    assert answer.headers["connection"] == "close"


def test_two_keys_are_none(patient: str, key: str) -> None:
    (answer,) = exchange(patient, post(key, "x-api-key: SG_other", "content-length: 0"))
    assert (answer.status, answer.error) == (400, "x-api-key: sent twice with different values")


BODIES = ("/v1/flux-controlnet", "/v2/flux-controlnet", "/v1/flux-controlnet/preprocess")


@pytest.mark.parametrize("path", [*BODIES, "/upload-asset"])
@pytest.mark.parametrize("coding", ["gzip", "identity, br", "deflate", "\xe9"], ids=ascii)
def test_a_content_coding_is_415(patient: str, key: str, path: str, coding: str) -> None:
    headers = f"content-encoding: {coding}", f"content-length: {len(BODY)}", "connection: close"
    raw = post(key, *headers).replace(b"/v2/flux-controlnet", path.encode(), 1)
    (answer,) = exchange(patient, raw + gzip.compress(BODY)[: len(BODY)])
    assert answer.status == 415
    assert answer.error.startswith("Content-Encoding: ")
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "", "Identity "])
def test_the_coding_that_is_none_is_understood(patient: str, key: str, coding: str) -> None:
    headers = f"content-encoding: {coding}", f"content-length: {len(BODY)}", "connection: close"
    (answer,) = exchange(patient, post(key, *headers, body=BODY))
    assert answer.status == 200


# ---- JSON


@pytest.mark.parametrize(
    "charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "cp037"]
)
@pytest.mark.parametrize("path", ["/v2/flux-controlnet", "/upload-asset"])
def test_json_is_utf_8(patient: str, key: str, path: str, charset: str) -> None:
    fields = {"image": "aGVsbG8=", "prompt": "x", "data_urls": ["data:image/gif;base64,R0lGODlh"]}
    body = json.dumps(fields).encode(charset)
    raw = post(key, f"content-length: {len(body)}", "connection: close")
    (answer,) = exchange(patient, raw.replace(b"/v2/flux-controlnet", path.encode(), 1) + body)
    assert answer.status == 400
    assert answer.error.startswith("body: not valid JSON")


def test_a_byte_order_mark_before_json_is_ignored(patient: str, key: str) -> None:
    """As RFC 8259 (8.1) allows."""
    body = BODY.decode().encode("utf-8-sig")
    raw = post(key, f"content-length: {len(body)}", "connection: close", body=body)
    (answer,) = exchange(patient, raw)
    assert answer.status == 200


@pytest.mark.parametrize(("text", "half"), [("a\ud83d b", "d83d"), ("\ude00", "de00")])
def test_half_a_character_is_named(patient: str, key: str, text: str, half: str) -> None:
    body = json.dumps({"image": "aGVsbG8=", "prompt": text}).encode()
    raw = post(key, f"content-length: {len(body)}", "connection: close", body=body)
    (answer,) = exchange(patient, raw)
    assert answer.status == 400
    assert answer.error.startswith(f"prompt: \\u{half} is not allowed without its other half")


# ---- long pictures


@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
def test_a_long_picture_is_stored_as_it_was_sent(
    patient: str, key: str, redis_url: str, form: bool
) -> None:
    """Also when its JSON escapes every slash, as PHP does, and the same request is the same."""
    text = "iVBO" + "/+Ab" * 15_000
    fields = json.dumps({"prompt": "x", "image": text})
    other_order = json.dumps({"image": text, "prompt": "x"}, indent=8)
    bodies = [fields, fields.replace("/", "\\/"), other_order]
    if form:
        part = '--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        bodies = [part % ("image", text) + part % ("prompt", "x") + "--x--\r\n"]
    ids = set()
    for body in bodies:
        headers = "idempotency-key: long", f"content-length: {len(body)}", "connection: close"
        raw = post(key, *headers, body=body.encode())
        if form:
            raw = raw.replace(b"application/json", b"multipart/form-data; boundary=x", 1)
        (answer,) = exchange(patient, raw)
        assert answer.status == 200, answer.body
        ids.add(json.loads(answer.body)["request_id"])
    (request_id,) = ids
    with Redis.from_url(redis_url) as redis:
        assert redis.get(f"blob:{request_id}:source") == text.encode()


# ---- many at once


def test_more_v1_calls_wait_than_a_connection_pool_holds(redis_url: str, key: str) -> None:
    """Each call gets a timeout, none a 503."""
    raw = post(key, f"content-length: {len(BODY)}", "connection: close", body=BODY)
    raw = raw.replace(b"/v2/", b"/v1/")
    with running_api(redis_url, ready=False, SYNC_TIMEOUT_S="5") as url, ExitStack() as stack:
        waiting = [stack.enter_context(connected(url)) for _ in range(150)]
        for connection in waiting:
            connection.sendall(raw)
        found = [answers(everything(connection))[0].status for connection in waiting]
    assert found == [504] * 150


# ---- what a form says about itself


@pytest.mark.parametrize("charset", ["utf-16", '"UTF-16LE"', "utf-7", "cp037", "nonsense"])
def test_a_form_in_another_charset_is_refused(patient: str, key: str, charset: str) -> None:
    part = b"--x\r\nContent-Disposition: form-data; name=prompt\r\n\r\n"
    body = part + "a cat".encode("utf-16") + b"\r\n--x--\r\n"
    kind = f"content-type: multipart/form-data; boundary=x; charset={charset}"
    raw = (
        f"POST /v2/flux-controlnet HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n{kind}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    (answer,) = exchange(patient, raw.encode() + body)
    assert answer.status == 400
    assert "UTF-8" in answer.error


FORM = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n%s\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (FORM % b"caf\xe9", "UTF-8"),
        (FORM[:-8] % b"a cat", "boundary"),
        (FORM[:-6] % b"a cat", "boundary"),
    ],
    ids=["Latin-1", "cut before its last boundary", "cut within it"],
)
def test_a_form_that_could_be_read_otherwise_is_refused(
    patient: str, key: str, body: bytes, named: str
) -> None:
    raw = post(key, f"content-length: {len(body)}", "connection: close")
    raw = raw.replace(b"application/json", b"multipart/form-data; boundary=x")
    (answer,) = exchange(patient, raw + body)
    assert answer.status == 400
    assert named in answer.error


def test_numbers_of_thousands_of_digits_are_refused_unread(patient: str, key: str) -> None:
    body = b'{"x": [%s]}' % b",".join([b"1" * 4000] * 20)
    (answer,) = exchange(
        patient, post(key, f"content-length: {len(body)}", "connection: close", body=body)
    )
    assert answer.status == 400
    assert answer.error.startswith("body: not valid JSON")


# ---- what every answer carries


def assert_safe(answer: Answer) -> None:
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *(("/health/live", 200), ("/openapi.json", 200), ("/metrics", 200), ("/nothing", 404)),
        *(("/v2/requests/x", 401), ("/v2/flux-controlnet", 405), ("/files/a/b", 404)),
    ],
)
def test_every_answer_is_safe_to_open(patient: str, path: str, status: int) -> None:
    answer = ask(patient, path)
    assert answer.status == status
    assert_safe(answer)


def test_so_are_those_that_are_no_answer_of_the_application(patient: str) -> None:
    (answer,) = exchange(patient, b"nonsense\r\n\r\n")
    assert answer.status == 400
    assert_safe(answer)


def test_closed_paths_do_not_exist(redis_url: str) -> None:
    closed = "/openapi.json, /metrics"
    with running_api(redis_url, ready=False, CLOSED_PATHS=closed) as url:
        for path in ("/openapi.json", "/metrics", "/docs", "/redoc"):
            answer = ask(url, path)
            assert (answer.status, answer.error) == (404, f"Not found: {path}")
        assert ask(url, "/health/live").status == 200
