"""Calls over real HTTP: keys, steps of a submission, redirects, servers that cannot be reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from tests.support.pictures import PictureHost, picture_host
from tests.support.servers import free_port
from tools.migrationcheck import client as module
from tools.migrationcheck.client import Server
from tools.migrationcheck.exchanges import Auth, Call, CannotRunError

pytestmark = pytest.mark.tools

KEY = "the-key"


class Api:
    """A host that answers paths with JSON and keeps the key that came with each."""

    def __init__(self, host: PictureHost) -> None:
        self.host = host
        self.keys: dict[str, str | None] = {}
        self.bodies: dict[str, bytes] = {}
        self.server = Server(host.origin, KEY, timeout_s=10)

    def answer(self, path: str, *contents: object, status: int = 200, **headers: str) -> None:
        """The contents one after the other, the last one from then on."""
        waiting = list(contents)

        def respond(handler: BaseHTTPRequestHandler) -> None:
            self.keys[path] = handler.headers.get("x-api-key")
            length = int(handler.headers.get("content-length") or 0)
            self.bodies[path] = handler.rfile.read(length)
            body = json.dumps(waiting.pop(0) if len(waiting) > 1 else waiting[0]).encode()
            handler.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                handler.send_header(name, value)
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.host.answer(path, respond)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(module, "POLL_S", 0.01)
    with picture_host() as host:
        yield Api(host)


def get(path: str, auth: Auth = Auth.KEY) -> Call:
    return Call("a", "GET", path, auth=auth)


@pytest.mark.parametrize(
    ("auth", "sent"), [(Auth.KEY, KEY), (Auth.WRONG, "not-a-key"), (Auth.NONE, None)]
)
def test_the_key_that_a_call_names_is_sent(api: Api, auth: Auth, sent: str | None) -> None:
    api.answer("/a", {})
    api.server.perform(get("/a", auth))
    assert api.keys == {"/a": sent}


def test_a_refused_key_ends_the_check_but_not_where_it_is_meant(api: Api) -> None:
    api.answer("/a", {"error": "no such key"}, status=401)
    with pytest.raises(CannotRunError, match="refuses the key: no such key"):
        api.server.perform(get("/a"))
    assert api.server.perform(get("/a", Auth.NONE)).responses["response"].status == 401


def test_a_redirect_is_a_response_and_is_not_followed(api: Api) -> None:
    api.answer("/a", {}, status=307, location="/b")
    response = api.server.perform(get("/a")).responses["response"]
    assert (response.status, response.headers["location"]) == (307, "/b")
    assert api.host.requests == ["/a"]


def test_an_unreachable_server_ends_the_check() -> None:
    server = Server(f"http://127.0.0.1:{free_port()}", KEY)
    with pytest.raises(CannotRunError, match="cannot be reached"):
        server.perform(get("/a"))
    with pytest.raises(CannotRunError, match="no URL of a server"):
        Server("file:///etc/hostname", KEY).perform(get(""))


def submit(api: Api, *states: dict[str, object], status: int = 200) -> dict[str, int]:
    """The statuses of the steps of a submission whose links name another host."""
    links = {"status_url": "https://other.invalid/s", "response_url": "https://other.invalid/r?a=b"}
    api.answer("/v2/model", {"status": "QUEUED", **links})
    api.answer("/s", *states, status=status)
    api.answer("/r?a=b", states[-1], status=status)
    exchange = api.server.perform(Call("a", "POST", "/v2/model", {"prompt": "a"}))
    return {step: response.status for step, response in exchange.responses.items()}


def test_a_submission_is_followed_at_its_own_origin(api: Api) -> None:
    file = api.host.serve("/0.png", b"picture")
    completed = {"status": "COMPLETED", "output": file}
    steps = submit(api, {"status": "QUEUED"}, {"status": "PROCESSING"}, completed)
    assert steps == {"response": 200, "status": 200, "result": 200, "file": 200}
    assert api.host.requests == ["/v2/model", "/s", "/s", "/s", "/r?a=b", "/0.png"]
    assert set(api.keys.values()) == {KEY}
    assert api.bodies["/v2/model"] == b'{"prompt": "a"}'


def test_a_failed_request_has_a_result_and_no_file(api: Api) -> None:
    steps = submit(api, {"status": "FAILED", "error": "no"}, status=422)
    assert steps == {"response": 200, "status": 422, "result": 422}


def test_an_error_of_the_status_ends_the_wait(api: Api) -> None:
    assert submit(api, {"error": "gone"}, status=404) == {"response": 200, "status": 404}


def test_a_link_that_cannot_be_fetched_leaves_its_step_out(api: Api) -> None:
    link = f"http://127.0.0.1:{free_port()}/0.png"
    assert "file" not in submit(api, {"status": "COMPLETED", "output": link})


def test_a_text_is_sent_as_it_is(api: Api) -> None:
    api.answer("/a", {})
    api.server.perform(Call("a", "POST", "/a", "{", content_type="text/plain"))
    assert api.bodies == {"/a": b"{"}
