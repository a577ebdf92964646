"""Where the fetcher connects to: tested through whole downloads, with a resolver of our own and a
record of every address that was dialled.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest

from app.core.egress.addresses import AllowList
from app.core.egress.connections import Deadline, Resolve, resolve
from app.core.egress.fetch import fetch_image
from app.core.errors import ImageRejected
from tests.support.hostile import PRIVATE, SPELLINGS, as_host
from tests.support.pictures import PictureHost, picture_host, redirect

PUBLIC_V4, PUBLIC_V6 = "93.184.215.14", "2606:4700:4700::1111"
NOBODY: tuple[str, ...] = ()

privately = pytest.mark.parametrize("address", PRIVATE.values(), ids=PRIVATE)
spelled = pytest.mark.parametrize("host", SPELLINGS.values(), ids=SPELLINGS)


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of all connections, in order; those to other machines are never made."""
    addresses: list[str] = []
    connect = httpcore.SyncBackend.connect_tcp

    def record(self: httpcore.SyncBackend, host: str, *rest: Any) -> httpcore.NetworkStream:
        addresses.append(host)
        if not host.startswith("127.0.0."):
            raise httpcore.ConnectTimeout
        return connect(self, host, *rest)

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", record)
    return addresses


@pytest.fixture
def neighbour() -> Iterator[PictureHost]:
    """A web server on another loopback address, for rules that tell the two apart."""
    with picture_host("127.0.0.2") as running:
        yield running


class Answers:
    """A resolver: one answer a look-up, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:  # noqa: ARG002
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def fetch(
    url: str, allow: tuple[str, ...] = NOBODY, resolve: Resolve = resolve, timeout_s: float = 5
) -> bytes:
    return fetch_image(url, AllowList.parse(allow), 10_000, timeout_s, resolve)


def refusal(url: str, allow: tuple[str, ...] = NOBODY, resolve: Resolve = resolve) -> str:
    """Why nothing is fetched; never says where it would have gone."""
    with pytest.raises(ImageRejected) as refused:
        fetch(url, allow, resolve)
    sentence = refused.value.text.removeprefix("image: the URL ")
    assert "secret" not in sentence
    assert not any(address in sentence for address in [*PRIVATE.values(), *SPELLINGS.values()])
    return sentence.removeprefix("cannot be used: ")


@privately
def test_a_private_address_in_a_url(dialled: list[str], address: str) -> None:
    assert refusal(f"http://{as_host(address)}/secret") == "its host is not allowed"
    assert dialled == []


@privately
def test_a_private_address_behind_a_redirect(
    dialled: list[str], host: PictureHost, address: str
) -> None:
    start = host.answer("/to-private", redirect(f"http://{as_host(address)}:8080/secret"))
    allow = (f"127.0.0.1:{host.port}",)
    assert refusal(start, allow) == "its host is not allowed"
    assert dialled == ["127.0.0.1"]


@privately
def test_a_private_address_behind_a_name(dialled: list[str], address: str) -> None:
    inside = Answers([address])
    assert refusal("https://images.example/secret", NOBODY, inside) == "its host is not allowed"
    assert inside.asked == ["images.example"]
    assert dialled == []


@spelled
def test_this_machine_in_another_spelling(dialled: list[str], host: str) -> None:
    assert refusal(f"http://{host}/secret") == "its host is not allowed"
    assert dialled == []


@pytest.mark.parametrize("host", [host for host in SPELLINGS.values() if host.isascii()])
def test_this_machine_in_another_spelling_behind_a_redirect(
    dialled: list[str], host: str, neighbour: PictureHost
) -> None:
    start = neighbour.answer("/start", redirect(f"http://{host}/secret"))
    assert refusal(start, ("127.0.0.2/32",)) == "its host is not allowed"
    assert dialled == ["127.0.0.2"]


def test_a_zone_of_the_resolver_hides_nothing(dialled: list[str]) -> None:
    assert refusal("http://a.example/", NOBODY, Answers(["fe80::1%lo"])) == (
        "its host is not allowed"
    )
    assert dialled == []


@pytest.mark.parametrize("port", [1, 22, 25, 81, 2375, 5432, 6379, 8000, 9200, 65535])
def test_ports_of_other_services(dialled: list[str], port: int) -> None:
    assert refusal(f"http://{PUBLIC_V4}:{port}/") == "its port is not allowed"
    assert dialled == []


@pytest.mark.parametrize("port", [80, 443, 8080, 8443])
def test_ports_of_the_web(dialled: list[str], port: int) -> None:
    assert refusal(f"http://{PUBLIC_V4}:{port}/") == "did not deliver within 5 s"
    assert dialled == [PUBLIC_V4]


# ---- names


def test_a_name_that_changes_its_answer_gains_nothing(dialled: list[str]) -> None:
    """The look-up that was checked is the one that is used: there is no second."""
    rebinding = Answers([PUBLIC_V4], ["127.0.0.1"])
    assert refusal("http://a.example/", NOBODY, rebinding) == "did not deliver within 5 s"
    assert rebinding.asked == ["a.example"]
    assert dialled == [PUBLIC_V4]


def test_a_name_that_changes_its_answer_between_hops_is_checked_again(
    dialled: list[str], neighbour: PictureHost
) -> None:
    """Connected first to the address that was allowed; the next hop's answer is private."""
    with picture_host("127.0.0.1", neighbour.port) as inside:
        inside.serve("/secret", b"secret")
        neighbour.answer("/start", redirect("/secret"))
        rebinding = Answers(["127.0.0.2"], ["127.0.0.1"])
        start = f"http://a.example:{neighbour.port}/start"
        reason = refusal(start, ("127.0.0.2/32",), rebinding)
    assert reason == "its port is not allowed"
    assert neighbour.requests == ["/start"]
    assert inside.requests == []
    assert dialled == ["127.0.0.2"]


@pytest.mark.parametrize(
    "answer",
    [
        [PUBLIC_V4, "::1"],
        [PUBLIC_V4, "fd00:ec2::254"],
        ["127.0.0.1", PUBLIC_V6],
        [PUBLIC_V6, PUBLIC_V4, "10.0.0.1"],
    ],
    ids=["public A, loopback AAAA", "public A, private AAAA", "loopback A", "last of three"],
)
def test_a_host_with_one_private_address_among_public_ones_is_refused(
    dialled: list[str], answer: list[str]
) -> None:
    assert refusal("http://a.example/", NOBODY, Answers(answer)) == "its host is not allowed"
    assert dialled == []


def test_every_address_is_tried(dialled: list[str], neighbour: PictureHost) -> None:
    neighbour.serve("/a.png", b"picture")
    both = Answers([PUBLIC_V6, "127.0.0.2"])
    url = f"http://a.example:{neighbour.port}/a.png"
    assert fetch(url, ("a.example",), both) == b"picture"
    assert dialled == [PUBLIC_V6, "127.0.0.2"]


def test_no_address_takes_the_time_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def swallow(_backend: object, _host: str, _port: int, timeout: float, *_: object) -> None:
        given.append(timeout)
        raise httpcore.ConnectTimeout

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", swallow)
    refusal("http://a.example/", NOBODY, Answers([PUBLIC_V6, PUBLIC_V4]))
    first, second = given
    assert first <= 2.5
    assert first < second <= 5


def test_a_name_without_an_address(dialled: list[str]) -> None:
    assert refusal("http://a.example/", NOBODY, Answers([])) == "its host has no address"
    assert dialled == []


@pytest.mark.parametrize("error", [OSError("secret"), UnicodeError("secret")])
def test_a_name_that_does_not_resolve(error: Exception) -> None:
    def fails(_host: str, _port: int) -> list[str]:
        raise error

    assert refusal("http://a.example/", NOBODY, fails) == "its host name does not resolve"


def test_a_resolver_that_does_not_answer_meets_the_deadline() -> None:
    end = threading.Event()

    def silent(_host: str, _port: int) -> list[str]:
        end.wait()
        return []

    try:
        with pytest.raises(ImageRejected, match="did not deliver within 0.2 s"):
            fetch("http://a.example/", resolve=silent, timeout_s=0.2)
    finally:
        end.set()


def test_a_deadline_leaves_some_time_or_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    deadline = Deadline(2.5)
    assert deadline.remaining_s() == 2.5
    monkeypatch.setattr(time, "monotonic", lambda: 102.25)
    assert deadline.remaining_s() == 0.25
    for now in (102.5, 103.0, 200.0):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        with pytest.raises(httpcore.ReadTimeout):
            deadline.remaining_s()


def test_the_system_resolver_gives_numbers() -> None:
    assert set(resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
    with pytest.raises(socket.gaierror):
        resolve("no-such-host.invalid", 80)


# ---- what the operator allows


def test_an_allowed_name_may_be_anywhere_and_on_every_port(host: PictureHost) -> None:
    host.serve("/a.png", b"picture")
    inside = Answers(["127.0.0.1"])
    assert fetch(f"http://images.corp:{host.port}/a.png", ("images.corp",), inside) == b"picture"


def test_an_allowed_network_is_on_every_port(host: PictureHost) -> None:
    host.serve("/a.png", b"picture")
    assert fetch(f"{host.origin}/a.png", ("127.0.0.0/30",)) == b"picture"


def test_another_port_of_an_allowed_host_is_not(dialled: list[str]) -> None:
    inside = Answers(["127.0.0.1"])
    reason = refusal("http://images.corp:8080/", ("images.corp:8443",), inside)
    assert reason == "its host is not allowed"
    assert dialled == []


@pytest.mark.parametrize(
    ("answer", "port", "reason"),
    [
        (["127.0.0.2", "10.0.0.1"], 80, "its host is not allowed"),
        (["10.0.0.1", "127.0.0.2"], 80, "its host is not allowed"),
        (["127.0.0.2", PUBLIC_V4], 81, "its port is not allowed"),
        ([PUBLIC_V4, "127.0.0.2"], 8080, "could not be reached"),
    ],
)
def test_an_allowed_address_allows_no_other_one(
    dialled: list[str], answer: list[str], port: int, reason: str
) -> None:
    url = f"http://a.example:{port}/"
    assert refusal(url, ("127.0.0.2/32",), Answers(answer)) == reason
    assert dialled == (answer if "reached" in reason else [])


@pytest.mark.parametrize(
    ("entry", "host", "reason"),
    [
        ("images.corp", "IMAGES.Corp.", "did not deliver within 5 s"),
        ("images.corp:9000", "images.corp", "did not deliver within 5 s"),
        ("images.corp:9001", "images.corp", "its port is not allowed"),
        ("[2606:4700:4700:0::1111]:9000", "[2606:4700:4700::1111]", "did not deliver within 5 s"),
        ("[2606:4700:4700::1111]:9001", "[2606:4700:4700::1111]", "its port is not allowed"),
        ("2606:4700::/32", "[2606:4700:4700::1111]", "did not deliver within 5 s"),
    ],
)
def test_an_allowed_host_is_recognised_in_every_spelling(
    dialled: list[str], entry: str, host: str, reason: str
) -> None:
    assert refusal(f"http://{host}:9000/", (entry,), Answers([PUBLIC_V6])) == reason
    assert dialled == ([PUBLIC_V6] if "deliver" in reason else [])
