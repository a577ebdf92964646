"""One connection, fed by hand: which heads are taken, what is answered before a request is one, and
what may be waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app.api.http.protocol import Awaited, BoundedProtocol, bounded_protocol
from app.core.settings import Settings
from tests.support.raw import Answer, answers

LINE = b"POST /x HTTP/1.1\r\n"
HOST = b"host: localhost\r\n"
TOO_LARGE = "The head of the request is larger than 32768 bytes or has more than 100 headers"


class Wire(asyncio.Transport):
    """The peer of a connection, which accepts writes until the test stops it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.9", 1234), "sockname": ("10.0.0.1", 80)})
        self.written = b""
        self.closed = asyncio.Event()
        self.aborted = False
        self.hung_up = False  # by us, before the other side did
        self.limits: list[Any] = []

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed.set()

    def abort(self) -> None:
        self.aborted = True
        self.closed.set()

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits.append((high, low))

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Echo:
    """Answers with what it was sent; keeps the scopes."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.done = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body = await Request(scope, receive).body()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.done.set()


Work = Callable[[BoundedProtocol, Wire, Echo], Awaitable[None]]


def connection(work: Work, **settings: Any) -> tuple[bytes, Wire, list[Scope]]:
    """What is written on a connection with which `work` does something, and what was asked for."""

    async def run() -> tuple[bytes, Wire, list[Scope]]:
        app = Echo()
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
        config.load()
        made = bounded_protocol(Settings(**settings))
        protocol, wire = made(config, ServerState(), {}, asyncio.get_running_loop()), Wire()
        protocol.connection_made(wire)
        await work(protocol, wire, app)
        wire.hung_up = wire.is_closing()
        protocol.connection_lost(None)
        return wire.written, wire, app.scopes

    return asyncio.run(run())


def fed(*pieces: bytes, **settings: Any) -> tuple[bytes, Wire, list[Scope]]:
    """After these pieces, and when what they ask for was answered or refused."""

    async def work(protocol: BoundedProtocol, wire: Wire, app: Echo) -> None:
        for piece in pieces:
            if not wire.is_closing():
                protocol.data_received(piece)
        ends = [asyncio.create_task(one.wait()) for one in (app.done, wire.closed)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()

    return connection(work, **settings)


def refused(*pieces: bytes, **settings: Any) -> Answer:
    """The one answer, with which the connection has ended, without the application."""
    written, wire, scopes = fed(*pieces, **settings)
    [answer] = answers(written)
    assert (wire.hung_up, scopes) == (True, [])
    assert answer.headers["connection"] == "close"
    return answer


def taken(*pieces: bytes) -> Scope:
    """What the application was asked, and answered with 200."""
    written, _, [scope] = fed(*pieces)
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    return scope


# ---- the head


@pytest.mark.parametrize(("many", "status"), [(100, 200), (101, 431)])
def test_a_head_has_at_most_100_headers(many: int, status: int) -> None:
    head = LINE + HOST + b"a: b\r\n" * (many - 2) + b"content-length: 0\r\n\r\n"
    if status == 200:
        assert len(taken(head)["headers"]) == 100
    else:
        answer = refused(head)
        assert (answer.status, answer.error) == (431, TOO_LARGE)


@pytest.mark.parametrize("place", ["in the path", "in a name", "in a value"])
@pytest.mark.parametrize(("size", "status"), [(32_768, 200), (32_769, 431)])
def test_a_head_has_at_most_32768_bytes(place: str, size: int, status: int) -> None:
    """Of the path, the names and the values."""
    long = b"a" * (size - len("/xhostlocalhostb"))
    path, name, value = b"/x", b"b", b""
    if place == "in the path":
        path += long
    elif place == "in a name":
        name += long
    else:
        value = long
    head = b"GET %s HTTP/1.1\r\n%s%s: %s\r\n\r\n" % (path, HOST, name, value)
    if status == 200:
        taken(head)
    else:
        answer = refused(head)
        assert (answer.status, answer.error) == (431, TOO_LARGE)


def test_a_head_that_does_not_end_is_cut_off_at_32768_bytes() -> None:
    begin = LINE + HOST + b"x: "
    rest = b"a" * (32_768 - len(begin))

    async def work(protocol: BoundedProtocol, wire: Wire, _app: Echo) -> None:
        protocol.data_received(begin)
        protocol.data_received(rest)
        assert not wire.is_closing()
        protocol.data_received(b"a")
        assert wire.is_closing()
        protocol.data_received(b"a" * 1000)

    [answer] = answers(connection(work)[0])
    assert (answer.status, answer.error) == (431, TOO_LARGE)


def test_framing_without_a_body_is_cut_off_at_32768_bytes() -> None:
    """Trailers and chunk extensions; each byte of a body is progress and restarts the timeout."""
    head = LINE + HOST + b"transfer-encoding: chunked\r\n\r\n"

    async def work(protocol: BoundedProtocol, wire: Wire, _app: Echo) -> None:
        protocol.data_received(head)
        for _ in range(3):
            protocol.data_received(b"1;" + b"x" * 32_000 + b"\r\na\r\n")
            assert not wire.is_closing()
        protocol.data_received(b"1;" + b"x" * 32_767)
        assert wire.is_closing()

    [answer] = answers(connection(work)[0])
    assert answer.status == 431


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    scope = taken(LINE + b"host: \t localhost \t\r\nx:\xa0 y\t\r\ncontent-length: 0\r\n\r\n")
    headers = dict(scope["headers"])
    assert (headers[b"host"], headers[b"x"]) == (b"localhost", b"\xa0 y")


@pytest.mark.parametrize(
    ("head", "status", "sentence"),
    [
        (LINE + b"\r\n", 400, "Host: exactly one is needed"),
        (LINE + HOST + b"host: b\r\n\r\n", 400, "Host: exactly one is needed"),
        (
            LINE + b"host: a:65536\r\n\r\n",
            400,
            "Host: a name or an address is needed, with a port of at most 65535 if any",
        ),
        (
            LINE + HOST + b"transfer-encoding: gzip, chunked\r\n\r\n",
            501,
            "Transfer-Encoding: only chunked is understood",
        ),
        (
            LINE + HOST + b"x-api-key: a\r\nx-api-key: b\r\n\r\n",
            400,
            "x-api-key: sent twice with different values",
        ),
        (b"nonsense\r\n\r\n", 400, "Invalid HTTP request received."),
        (LINE + HOST + b"content-length: -1\r\n\r\n", 400, "Invalid HTTP request received."),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "Invalid HTTP request received."),
    ],
)
def test_a_head_that_is_none_is_refused_in_json(head: bytes, status: int, sentence: str) -> None:
    answer = refused(head)
    assert (answer.status, answer.error) == (status, sentence)
    assert answer.headers["content-type"] == "application/json"


def test_an_older_client_needs_no_host() -> None:
    taken(b"GET /x HTTP/1.0\r\n\r\n")


# ---- requests on one connection


def test_an_answer_is_to_a_whole_body() -> None:
    written, wire, [scope] = fed(LINE + HOST, b"content-length: 6\r\n\r\nabc", b"def")
    assert written.endswith(b"\r\n\r\nabcdef")
    assert not wire.hung_up
    assert (scope["method"], scope["path"]) == ("POST", "/x")
    assert scope["server"] == ("10.0.0.1", 80)


def test_a_request_sent_ahead_is_dropped_and_the_connection_with_it() -> None:
    one = b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n"
    written, wire, scopes = fed(one * 3)
    [answer] = answers(written)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert (len(scopes), wire.hung_up) == (1, True)


@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
@pytest.mark.parametrize("apart", [False, True])
def test_an_offer_of_another_protocol_is_read_as_if_not_made(offer: bytes, apart: bool) -> None:
    head = LINE + HOST + b"connection: upgrade\r\nupgrade: " + offer
    head += b"\r\nx: y\r\ncontent-length: 3\r\n\r\n"
    pieces = (head, b"abc") if apart else (head + b"abc",)
    written, _, [scope] = fed(*pieces)
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"\r\n\r\nabc")
    headers = dict(scope["headers"])
    assert b"upgrade" not in headers
    assert (headers[b"x"], scope["method"], scope["path"]) == (b"y", "POST", "/x")


def test_a_tunnel_is_a_method_like_any_other() -> None:
    scope = taken(b"CONNECT /x HTTP/1.1\r\n" + HOST + b"\r\n")
    assert scope["method"] == "CONNECT"
    assert refused(b"CONNECT a.example:443 HTTP/1.1\r\n" + HOST + b"\r\n").status == 400


# ---- time


def test_each_thing_that_is_awaited_has_its_own_time() -> None:
    made = bounded_protocol(Settings(head_timeout_s=3, body_timeout_s=7))
    assert made.timeout_s == {Awaited.HEAD: 3.0, Awaited.BODY: 7.0, Awaited.READER: 7.0}


HEAD_ONLY: dict[str, Any] = {"head_timeout_s": 0.01, "body_timeout_s": 3600}
BODY_ONLY: dict[str, Any] = {"head_timeout_s": 3600, "body_timeout_s": 0.01}


def test_a_connection_that_is_never_used_is_closed_without_a_word() -> None:
    written, wire, _ = fed(**HEAD_ONLY)
    assert (written, wire.aborted) == (b"", False)


@pytest.mark.parametrize("begin", [b"P", LINE, LINE + HOST])
def test_a_head_that_does_not_come_is_408(begin: bytes) -> None:
    answer = refused(begin, **HEAD_ONLY)
    assert (answer.status, answer.error) == (408, "The request did not arrive in time")


@pytest.mark.parametrize("framing", [b"content-length: 5", b"transfer-encoding: chunked"])
def test_a_body_that_does_not_come_is_408(framing: bytes) -> None:
    async def work(protocol: BoundedProtocol, wire: Wire, _app: Echo) -> None:
        protocol.data_received(LINE + HOST + framing + b"\r\n\r\n")
        await wire.closed.wait()

    [answer] = answers(connection(work, **BODY_ONLY)[0])
    assert (answer.status, answer.error) == (408, "The request did not arrive in time")


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    async def work(protocol: BoundedProtocol, wire: Wire, _app: Echo) -> None:
        protocol.pause_writing()
        await wire.closed.wait()

    written, wire, _ = connection(work, **BODY_ONLY)
    assert (written, wire.aborted) == (b"", True)
    assert wire.limits[-1] == (0, None)


def test_a_client_that_takes_again_is_waited_for_as_before() -> None:
    async def work(protocol: BoundedProtocol, wire: Wire, _app: Echo) -> None:
        protocol.pause_writing()
        protocol.resume_writing()
        await wire.closed.wait()

    written, wire, _ = connection(work, head_timeout_s=0.01, body_timeout_s=0.01)
    assert (written, wire.aborted) == (b"", False)


def test_an_answer_that_takes_long_is_waited_for() -> None:
    """Nothing of the client is awaited then; what it sends meanwhile is none of its request."""

    async def work(protocol: BoundedProtocol, wire: Wire, app: Echo) -> None:
        protocol.data_received(LINE + HOST + b"content-length: 0\r\n\r\n")
        assert protocol._deadline is None
        await app.done.wait()
        assert not wire.is_closing()

    [answer] = answers(connection(work, **HEAD_ONLY)[0])
    assert answer.status == 200


# ---- another origin

ORIGIN = b"origin: https://app.example\r\n"
CORS = {"cors_origins": ("https://app.example",), "public_url": "https://a.example/api"}


def cors_headers(answer: Answer) -> dict[str, str]:
    prefix = "access-control-"
    return {name: value for name, value in answer.headers.items() if name.startswith(prefix)}


@pytest.mark.parametrize(
    "head",
    [
        LINE + ORIGIN + HOST + HOST + b"\r\n",
        LINE + ORIGIN + HOST + b"x: " + b"a" * 32_768,
        LINE + ORIGIN + HOST + b"\0",
        b"GET /v2/requests/1?x HTTP/1.1\r\n" + ORIGIN + b"\r\n",
    ],
)
def test_a_listed_origin_may_read_what_is_answered_before_a_request_is_one(head: bytes) -> None:
    answer = refused(head, **CORS)
    assert answer.status in (400, 431)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["vary"] == "Origin"


def test_a_listed_origin_may_read_that_its_body_was_too_slow() -> None:
    async def work(protocol: BoundedProtocol, wire: Wire, _app: Echo) -> None:
        protocol.data_received(LINE + HOST + ORIGIN + b"content-length: 9\r\n\r\n")
        await wire.closed.wait()

    [answer] = answers(connection(work, **CORS, **BODY_ONLY)[0])
    assert answer.status == 408
    assert answer.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize(
    ("head", "settings"),
    [
        (LINE + ORIGIN + b"\r\n", {}),
        (LINE + b"\r\n", CORS),
        (b"nonsense\r\n\r\n", CORS),
        (LINE + b"origin: https://other.example\r\n\r\n", CORS),
        (b"GET /admin/keys HTTP/1.1\r\n" + ORIGIN + b"\r\n", CORS),
        (b"GET /api/%61dmin/keys?x HTTP/1.1\r\n" + ORIGIN + b"\r\n", CORS),
        (b"GET http://a.example/admin HTTP/1.1\r\n" + ORIGIN + b"\r\n", CORS),
    ],
    ids=[
        *("without the setting", "without an origin", "no request", "another origin"),
        *("a closed path", "an encoded path", "a whole URL"),
    ],
)
def test_no_other_origin_and_no_closed_path_is_allowed(
    head: bytes, settings: dict[str, Any]
) -> None:
    assert cors_headers(refused(head, **settings)) == {}
