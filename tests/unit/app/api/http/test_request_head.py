"""What a head must be like before it is a request."""

from __future__ import annotations

import pytest

from app.api.http.request_head import fault_of, split_host

HOST = (b"host", b"localhost")
HOSTS = {
    "localhost": ("localhost", None),
    "a.example:8443": ("a.example", 8443),
    "my_service:80": ("my_service", 80),
    "a.example:": ("a.example", None),
    "a.example:0080": ("a.example", 80),
    "a.example:65535": ("a.example", 65535),
    "127.0.0.1:1": ("127.0.0.1", 1),
    "[::1]:8000": ("[::1]", 8000),
    "[fe80::1%25eth0]": ("[fe80::1%25eth0]", None),
    "": ("", None),
}
NO_HOSTS = [
    *("a:65536", "a:99999999999999999999", "a:+80", "a:-1", "a: 80", "a:8 0", "a:0x50", "a:1_0"),
    *(
        "a:\xb2",
        "a:b",
        "a:80:80",
        "::1",
        "[::1",
        "a b",
        "a/b",
        "a@b",
        "a?b",
        "a#b",
        "a\\b",
        "a\xe9",
    ),
    *('"a"', "a:\u0661", "[a]b", "<a>"),
]


@pytest.mark.parametrize(("host", "parts"), HOSTS.items())
def test_a_host_is_split(host: str, parts: tuple[str, int | None]) -> None:
    assert split_host(host) == parts
    assert fault_of([(b"host", host.encode())], "1.1") is None


@pytest.mark.parametrize("host", NO_HOSTS)
def test_an_invalid_host_header_is_400(host: str) -> None:
    assert split_host(host) is None
    fault = fault_of([(b"host", host.encode())], "1.1")
    assert fault is not None
    assert (fault.status, fault.text[:6]) == (400, "Host: ")


@pytest.mark.parametrize(
    "codings",
    [[b"gzip"], [b"gzip, chunked"], [b"gzip", b"chunked"], [b"identity"], [b"x, Chunked"]],
)
def test_an_unknown_transfer_coding_is_501(codings: list[bytes]) -> None:
    fault = fault_of([HOST, *((b"transfer-encoding", coding) for coding in codings)], "1.1")
    assert fault is not None
    assert fault.status == 501


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"chunked, gzip", b"chunked, chunked"])
def test_other_codings_are_left_to_the_parser(coding: bytes) -> None:
    assert fault_of([HOST, (b"transfer-encoding", coding)], "1.1") is None


@pytest.mark.parametrize("name", ["x-api-key", "authorization", "idempotency-key", "content-type"])
def test_two_values_of_one_header(name: str) -> None:
    first, second = (name.encode(), b"a"), (name.encode(), b"b")
    assert fault_of([HOST, first, first], "1.1") is None
    fault = fault_of([HOST, first, second], "1.1")
    assert fault is not None
    assert (fault.status, fault.text) == (400, f"{name}: sent twice with different values")
