"""Hosts and ports have one normal form, for every spelling."""

from __future__ import annotations

import pytest

from app.core.egress.hosts import (
    DEFAULT_PORTS,
    MAX_PORT,
    authority,
    canonical_authority,
    canonical_host,
    canonical_origin,
)

SPELLINGS = {
    "example.com": ["example.com", "EXAMPLE.com", "example.com.", "Example.Com.", "example。com"],
    "xn--bcher-kva.example": ["bücher.example", "BÜCHER.example.", "XN--BCHER-KVA.EXAMPLE"],
    "my_host-1": ["my_host-1", "MY_HOST-1."],
    "10.1.2.3": ["10.1.2.3", "10.1.2.3.", "１０.1.2.3"],  # noqa: RUF001  # digits of another script
    "::1": ["::1", "0:0:0:0:0:0:0:1", "0000::0001", "::0.0.0.1"],
    "2001:db8::a": ["2001:DB8::A", "2001:0db8:0:0::000a"],
    "a" * 63: ["a" * 63, "A" * 63],
}


@pytest.mark.parametrize(
    ("written", "canonical"),
    [(written, one) for one, every in SPELLINGS.items() for written in every],
)
def test_a_host_has_one_spelling(written: str, canonical: str) -> None:
    assert canonical_host(written) == canonical
    assert canonical_host(canonical) == canonical


@pytest.mark.parametrize(
    "written",
    [
        *("", ".", "..", "a..b", ".a", "a..", "a b", "a/b", "a@b", "a:80", "*", "%41", "a\0b"),
        *("a" * 64, "[::1]", ":", ":::", "1::2::3", "fe80::1%eth0", "::1.", "\ud800"),
    ],
)
def test_an_invalid_host_has_no_normal_form(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # its callers have sentences of their own
        canonical_host(written)


def test_an_authority_has_brackets_around_ipv6() -> None:
    assert authority("a.example", None) == "a.example"
    assert authority("a.example", 80) == "a.example:80"
    assert authority("::1", None) == "[::1]"
    assert authority("::1", 8000) == "[::1]:8000"


def test_the_default_ports() -> None:
    assert DEFAULT_PORTS == {"http": 80, "https": 443}
    assert MAX_PORT == 65_535


@pytest.mark.parametrize(
    ("entry", "canonical"),
    [
        ("A.example", "a.example"),
        ("a.example.:080", "a.example:80"),
        ("a.example:1", "a.example:1"),
        ("a.example:65535", "a.example:65535"),
        ("[2001:DB8::0:1]", "[2001:db8::1]"),
        ("[::1]:8000", "[::1]:8000"),
        ("10.0.0.1:99", "10.0.0.1:99"),
        ("Bücher.intern", "xn--bcher-kva.intern"),
    ],
)
def test_an_entry_of_a_setting_has_one_spelling(entry: str, canonical: str) -> None:
    assert canonical_authority(entry) == canonical


@pytest.mark.parametrize(
    "entry",
    [
        *("", " a", "a b", "http://a", "a/b", "*.corp", "a:", "a:0", "a:65536", "a:000080", "a:b"),
        *("a:８０", "::1", "[::1", "::1]", "[]", "[a.b]", "[10.0.0.1]", "a..b", "a\n"),  # noqa: RUF001
    ],
)
def test_another_entry_is_refused_with_its_name(entry: str) -> None:
    with pytest.raises(ValueError, match="^'") as refused:
        canonical_authority(entry)
    assert str(refused.value).startswith(repr(entry))


@pytest.mark.parametrize(
    ("entry", "canonical"),
    [
        ("https://app.example", "https://app.example"),
        ("HTTPS://App.Example:443", "https://app.example"),
        ("http://app.example:080", "http://app.example"),
        ("https://app.example:80", "https://app.example:80"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[::0:1]:80", "http://[::1]"),
        ("https://[::443]", "https://[::443]"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("chrome-extension://ABCdef:443", "chrome-extension://abcdef:443"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(entry: str, canonical: str) -> None:
    assert canonical_origin(entry) == canonical


@pytest.mark.parametrize(
    "entry",
    [
        *("", "null", "*", "app.example", "localhost:5173", "//app.example", "://a", "1a://a"),
        *("https://", "file://", "https:app.example", "https://*.example", "*://app.example"),
        *("https://app.example/", "https://app.example/x", "https://a?x", "https://a#x"),
        *("https://u@a", "https://u:p@a", "https://a:", "https://a:*", "https://a:65536"),
        *("https://a b", " https://a", "https://b\u00fccher.example", "https://::1"),
    ],
)
def test_another_text_is_no_origin(entry: str) -> None:
    with pytest.raises(ValueError, match="is no origin: scheme://host or ") as refused:
        canonical_origin(entry)
    assert str(refused.value).startswith(repr(entry))
