"""How many bytes of bodies an api process takes at a time, and that it gives the memory back."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.api.middleware.body_budget import BodyBudget, BodyBudgetMiddleware, BodyLease
from app.core.errors import Overloaded
from tests.support.raw import answers, connected, everything
from tests.support.servers import a_key, free_port, running_api
from tests.support.waiting import until

MEGABYTE = 1 << 20
LARGEST = 16 * MEGABYTE


@dataclass(frozen=True)
class Api:
    """One api process without workers: one key may have 16 MiB of bodies in hand, all keys 24."""

    url: str
    redis: str
    pid: int

    @property
    def rss(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()


@pytest.fixture(scope="module")
def api(redis_server: str) -> Iterator[Api]:
    port = free_port()
    settings = {
        "MAX_BODY_BYTES": str(LARGEST),
        "MAX_KEY_BODIES_BYTES": "1024",  # the largest body passes whatever is said here
        "MAX_BODIES_BYTES": str(24 * MEGABYTE),
    }
    with running_api(redis_server, ready=False, port=port, **settings) as url:
        yield Api(url, redis_server, child_with(str(port)))


def child_with(word: str) -> int:
    """The child of this process that has this on its command line."""
    threads = Path("/proc/self/task").glob("*/children")
    children = [child for thread in threads for child in thread.read_text().split()]
    [pid] = [
        int(child)
        for child in children
        if word.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    ]
    return pid


def body(size: int, **changes: object) -> bytes:
    """A valid submission of so many bytes."""
    fields = {"prompt": "x", "image": "", **changes}
    return json.dumps({**fields, "image": "A" * (size - len(json.dumps(fields)))}).encode()


def half_sent(key: str, content: bytes, path: str = "/v2/flux-controlnet") -> bytes:
    head = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"x-api-key: {key}",
        "content-type: application/json",
        f"content-length: {len(content)}",
        "connection: close",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content[: len(content) // 2]


def submitted(api: Api, key: str, content: bytes) -> httpx.Response:
    headers = {"x-api-key": key, "content-type": "application/json"}
    return httpx.post(f"{api.url}/v2/flux-controlnet", content=content, headers=headers, timeout=60)


def refused(api: Api, key: str, size: int) -> httpx.Response | None:
    """The answer to a body of this size when it is a refusal."""
    answer = submitted(api, key, body(size))
    return None if answer.status_code == 200 else answer


def test_a_key_beyond_its_body_budget_gets_retry_after(api: Api) -> None:
    greedy, other, third = (a_key(api.redis) for _ in range(3))
    content = body(12 * MEGABYTE)
    with connected(api.url) as connection:
        connection.sendall(half_sent(greedy, content))
        until(lambda: refused(api, greedy, 5 * MEGABYTE) is not None, "the first to be counted")
        answer = refused(api, greedy, 5 * MEGABYTE)
        assert answer is not None
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"].startswith("The service is overloaded: request bodies of th")
        assert refused(api, greedy, 3 * MEGABYTE) is None
        assert refused(api, other, 10 * MEGABYTE) is None
        full = refused(api, third, 13 * MEGABYTE)
        assert full is not None
        assert "its memory for request bodies is full" in full.json()["error"]
        connection.sendall(content[len(content) // 2 :])
        [first] = answers(everything(connection))
        assert first.status == 200
    assert refused(api, greedy, LARGEST) is None


def test_a_disconnected_client_releases_its_body_budget(api: Api) -> None:
    key = a_key(api.redis)
    with connected(api.url) as connection:
        connection.sendall(half_sent(key, body(LARGEST)))
        until(lambda: refused(api, key, MEGABYTE) is not None, "it to be counted")
    until(lambda: refused(api, key, LARGEST) is None, "its room to be free")


def test_a_call_without_a_key_reserves_no_body_budget(api: Api) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(connected(api.url))
            head = half_sent("SG_nobody", body(LARGEST)).partition(b"{")[0]
            connection.sendall(head)
            assert b" 401 " in connection.recv(64)
        assert refused(api, a_key(api.redis), LARGEST) is None


def waiting_call(api: Api, key: str, stack: ExitStack) -> socket.socket:
    """A v1 call whose body has been sent; no worker makes its picture."""
    content = body(LARGEST)
    connection = stack.enter_context(connected(api.url))
    path = "/v1/flux-controlnet"
    connection.sendall(half_sent(key, content, path) + content[len(content) // 2 :])
    return connection


def test_calls_that_wait_for_their_picture_hold_no_body(api: Api) -> None:
    key = a_key(api.redis)
    refused(api, key, LARGEST)
    before = api.rss
    with ExitStack() as stack:
        for _ in range(3):
            waiting_call(api, key, stack)
            until(lambda: refused(api, key, LARGEST) is None, "its body to be stored")
        until(lambda: api.rss < before + LARGEST, "the memory to be given back")


def test_a_body_without_a_length_counts_as_it_comes() -> None:
    budget = BodyBudget(total=1000, per_key=600, largest=100)
    budget.take("a", 600)
    with pytest.raises(Overloaded):
        budget.take("a", 1)
    budget.take("b", 400)
    with pytest.raises(Overloaded):
        budget.take("c", 1)
    budget.give_back("a", 600)
    assert budget.in_flight == 400
    budget.take("c", 600)


def test_the_largest_body_passes_when_it_is_alone() -> None:
    budget = BodyBudget(total=1, per_key=1, largest=100)
    budget.take("a", 100)
    budget.give_back("a", 100)
    assert budget.in_flight == 0


def test_a_refusal_says_when_to_come_back() -> None:
    budget = BodyBudget(total=1000, per_key=600, largest=100)
    budget.take("a", 600)
    with pytest.raises(Overloaded) as of_the_key:
        budget.take("a", 1)
    assert of_the_key.value.text == (
        "The service is overloaded: request bodies of this key hold 600 bytes already. "
        "Please try again in 2 s"
    )
    with pytest.raises(Overloaded) as of_all:
        budget.take("b", 401)
    assert of_all.value.text == (
        "The service is overloaded: its memory for request bodies is full. Please try again in 2 s"
    )
    assert {of_the_key.value.headers["retry-after"], of_all.value.headers["retry-after"]} == {"2"}


def lease(budget: BodyBudget, declared: bytes = b"", key_id: str = "a") -> BodyLease:
    headers = [(b"content-length", declared)] if declared else []
    scope = {"type": "http", "headers": headers, "state": {"key_id": key_id}}
    made = BodyLease(budget, scope)
    assert scope["state"]["body"] is made  # type: ignore[index]  # a scope of ours
    return made


@pytest.mark.parametrize(("declared", "held"), [(b"70", 70), (b"", 0), (b"-1", 0), (b"x", 0)])
def test_a_declared_length_counts_from_the_first_read(declared: bytes, held: int) -> None:
    budget = BodyBudget(total=100, per_key=100, largest=1)
    body = lease(budget, declared)
    assert budget.in_flight == 0
    for _ in range(2):
        body.begin()
        assert budget.in_flight == held
    body.receive(30)
    assert budget.in_flight == max(held, 30)
    body.receive(50)
    assert budget.in_flight == max(held, 80)
    body.release()
    assert budget.in_flight == 0
    body.receive(50)
    body.release()
    assert budget.in_flight == 0


def test_a_call_that_ends_anyhow_holds_nothing() -> None:
    budget = BodyBudget(total=100, per_key=100, largest=1)
    held: list[int] = []

    async def app(_scope: object, receive: object, _send: object) -> None:
        await receive()  # type: ignore[operator]  # of ASGI
        held.append(budget.in_flight)
        raise ValueError

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"x" * 40}

    async def run() -> None:
        scope = {"type": "http", "headers": [], "state": {}}
        await BodyBudgetMiddleware(app, budget)(scope, receive, None)  # type: ignore[arg-type]  # unused

    with pytest.raises(ValueError):  # noqa: PT011  # of the application
        asyncio.run(run())
    assert (held, budget.in_flight) == ([40], 0)


@pytest.mark.parametrize(("size", "trims"), [(1_048_575, 0), (1_048_576, 1)])
def test_memory_is_given_back_once_after_a_body_of_a_mebibyte(
    size: int, trims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[bool] = []
    module = "app.api.middleware.body_budget"
    monkeypatch.setattr(f"{module}._TRIM_AFTER_S", 0.0)
    monkeypatch.setattr(f"{module}.release_free_memory", lambda: done.append(True))

    async def run() -> None:
        budget = BodyBudget(total=10**7, per_key=10**7, largest=1)
        for _ in range(2):
            budget.take("a", size)
            budget.give_back("a", size)
        await asyncio.sleep(0.01)
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(run())
    assert len(done) == trims
