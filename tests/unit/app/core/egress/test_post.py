"""POST: only to hosts that the fetcher may reach, once, with a deadline."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from app.core.egress.addresses import AllowList
from app.core.egress.post import DeliveryFailed, post
from tests.support.receivers import Receiver, receiver

ALLOWED = AllowList.parse(("127.0.0.1",))
NOBODY = AllowList.parse(())


@pytest.fixture
def listening() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def test_body_and_headers_arrive(listening: Receiver) -> None:
    assert post(listening.url, b"{}", {"webhook-id": "msg_1"}, ALLOWED, 30) == 204
    posted = listening.next()
    assert (posted.path, posted.body) == ("/hook", b"{}")
    assert posted.headers["webhook-id"] == "msg_1"
    assert posted.headers["host"] == listening.url.split("/")[2]


def test_an_ipv6_address_has_brackets_in_the_host_header() -> None:
    with receiver(address="::1") as running:
        allow = AllowList.parse(("[::1]",))
        assert post(running.url.replace("[::1]", "[0:0::0:1]"), b"{}", {}, allow, 30) == 204
        assert running.url.startswith("http://[::1]:")
        assert running.next().headers["host"] == running.url.split("/")[2]


def test_the_server_says_what_it_is_and_how_much_it_sends(listening: Receiver) -> None:
    post(listening.url, b"\xe9{}", {}, ALLOWED, 30)
    posted = listening.next()
    assert posted.headers["user-agent"] == "flux-controlnet-server"
    assert posted.headers["content-length"] == "3"
    assert "accept-encoding" not in posted.headers


def test_a_redirect_is_an_answer_and_not_followed(listening: Receiver) -> None:
    listening.statuses, listening.location = [307], listening.url
    assert post(listening.url, b"{}", {}, ALLOWED, 30) == 307
    listening.next()
    assert listening.idle


@pytest.mark.parametrize("answer", ["127.0.0.1", "10.0.0.1", "::1", "169.254.169.254"])
def test_a_name_that_leads_inside_is_refused_at_the_connection(answer: str) -> None:
    with pytest.raises(DeliveryFailed, match="^the URL cannot be used: its host is not allowed$"):
        post("http://a.example/", b"", {}, NOBODY, 30, lambda *_: [answer])


def test_the_address_itself_is_refused(listening: Receiver) -> None:
    with pytest.raises(DeliveryFailed, match="is not allowed"):
        post(listening.url, b"", {}, NOBODY, 30)
    assert listening.idle


def test_an_unreachable_receiver_is_reported() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(DeliveryFailed, match="^the receiver could not be reached$"):
            post(url, b"", {}, ALLOWED, 30)


def test_a_receiver_that_says_nothing_is_left() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(DeliveryFailed, match="^no answer within 0.2 s$"):
            post(url, b"", {}, ALLOWED, 0.2)
