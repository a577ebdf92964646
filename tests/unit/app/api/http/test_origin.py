"""Whose name the URLs in answers carry: PUBLIC_URL, or a Host header that may be believed."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Request

from app.api.http.origin import public_origin
from app.core.errors import InvalidRequest
from app.core.settings import Settings

ELSEWHERE = ("10.1.2.3", 8000)


def origin(host: str | None, server: Any = ELSEWHERE, scheme: str = "http", **settings: Any) -> str:
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    scope = {"type": "http", "scheme": scheme, "path": "/", "headers": headers, "server": server}
    return public_origin(Request(scope), Settings(**settings))


def assert_refused(host: str | None, **options: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        origin(host, **options)
    assert refused.value.text == (
        f"Host {(host or '').lower()!r} is not known to this server: "
        "set PUBLIC_URL, or add it to ALLOWED_HOSTS"
    )


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("localhost", "localhost"),
        ("localhost:8000", "localhost:8000"),
        ("LocalHost:8000", "localhost:8000"),
        ("localhost.", "localhost."),
        ("localhost.:8000", "localhost.:8000"),
        ("localhost:", "localhost"),
        ("localhost:080", "localhost:80"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("[::1]", "[::1]"),
        ("[::1]:8000", "[::1]:8000"),
        ("[0:0:0:0:0:0:0:1]:8000", "[0:0:0:0:0:0:0:1]:8000"),
    ],
)
def test_this_machine_is_known_by_default(host: str, authority: str) -> None:
    assert origin(host) == f"http://{authority}"
    assert origin(host, scheme="https") == f"https://{authority}"


@pytest.mark.parametrize(
    "host",
    [
        None,
        *("", ":8000", "evil.example", "localhost.evil.example", "evil-localhost", "localhost.."),
        *("127.0.0.1@evil", "localhost:65536", "localhost:x", "[127.0.0.1]", "[localhost]"),
        *("[::2]", "::1", "[::1", "[::1].", "[::1%25lo]", "127.0.0.2", "0x7f.1", "127.1"),
        *("\xe9.example", "localhost/", "a b"),
    ],
)
def test_a_foreign_host_is_refused(host: str | None) -> None:
    assert_refused(host)


@pytest.mark.parametrize(
    ("entry", "known", "foreign"),
    [
        ("API.corp", ["api.corp", "Api.Corp", "api.corp.", "api.corp:81"], ["x.api.corp", "corp"]),
        ("api.corp.", ["api.corp", "api.corp.", "api.corp:81"], ["api.corp..", "api"]),
        ("api.corp:81", ["api.corp:81", "API.corp.:81"], ["api.corp", "api.corp:8"]),
        ("api.corp:080", ["api.corp", "api.corp:80"], ["api.corp:443"]),
        ("bücher.corp", ["xn--bcher-kva.corp", "XN--BCHER-KVA.corp:9"], ["bucher.corp"]),
        ("[2001:DB8:0::1]", ["[2001:db8::1]", "[2001:db8:0:0::1]:81"], ["[2001:db8::2]"]),
        ("[2001:db8::1]:81", ["[2001:db8::1]:81", "[2001:DB8::0:1]:81"], ["[2001:db8::1]"]),
    ],
)
def test_an_allowed_host_is_known_in_every_spelling(
    entry: str, known: list[str], foreign: list[str]
) -> None:
    for host in known:
        assert origin(host, allowed_hosts=entry) == f"http://{host.lower()}"
    for host in [*foreign, "localhost"]:
        assert_refused(host, allowed_hosts=entry)


def test_the_port_of_https_is_443() -> None:
    assert origin("api.corp", scheme="https", allowed_hosts="api.corp:443") == "https://api.corp"
    assert_refused("api.corp", scheme="https", allowed_hosts="api.corp:80")


@pytest.mark.parametrize(
    ("server", "host"),
    [
        (("10.1.2.3", 8000), "10.1.2.3:8000"),
        (("10.1.2.3", 8000), "10.1.2.3:9000"),  # as a forwarded port has it
        (("10.1.2.3", None), "10.1.2.3"),
        (("2001:db8::1", 8000), "[2001:db8::1]:8000"),
        (("2001:db8::1", 8000), "[2001:0DB8::1]:8000"),
    ],
)
def test_the_address_of_the_connection_is_known(server: Any, host: str) -> None:
    assert origin(host, server=server) == f"http://{host.lower()}"


@pytest.mark.parametrize("server", [None, ("/run/api.sock", None), ("fe80::1%eth0", 8000)])
def test_a_connection_without_an_address_makes_no_host_known(server: Any) -> None:
    assert_refused("10.1.2.3", server=server)
    assert_refused("[fe80::1]:8000", server=server)
    assert origin("localhost", server=server) == "http://localhost"


@pytest.mark.parametrize(
    ("public_url", "shown"),
    [
        ("https://pictures.corp/api/", "https://pictures.corp/api"),
        ("HTTPS://Pictures.Corp:443", "https://pictures.corp"),
        ("http://[2001:db8::1]:8000/", "http://[2001:db8::1]:8000"),
        ("http://bücher.corp", "http://xn--bcher-kva.corp"),
    ],
)
def test_public_url_wins_over_any_host(public_url: str, shown: str) -> None:
    for host in ("evil.example", "localhost", None):
        assert origin(host, public_url=public_url) == shown
