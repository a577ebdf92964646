"""The text of a URL: accepted spellings, and refusals before any look-up."""

from __future__ import annotations

import pytest

from app.core.egress.urls import Url, parse_url, resolve_redirect
from app.core.errors import UrlRejected

TAKEN = {
    "plain": ("http://example.com/a.png", Url("http", "example.com", None, b"/a.png")),
    "no path": ("https://example.com", Url("https", "example.com", None, b"/")),
    "query only": ("http://example.com?a=1", Url("http", "example.com", None, b"/?a=1")),
    "port": ("http://example.com:8080/", Url("http", "example.com", 8080, b"/")),
    "upper case": ("HTTPS://EXAMPLE.com/A", Url("https", "example.com", None, b"/A")),
    "blanks around": (" http://example.com/a\n", Url("http", "example.com", None, b"/a")),
    "fragment": ("http://example.com/a#b", Url("http", "example.com", None, b"/a")),
    "final dot": ("http://example.com./a", Url("http", "example.com", None, b"/a")),
    "underscore": ("http://minio_1/a", Url("http", "minio_1", None, b"/a")),
    "IDN": ("http://bücher.example/", Url("http", "xn--bcher-kva.example", None, b"/")),
    "IPv6": ("http://[2606:4700::1111]:80/", Url("http", "2606:4700::1111", 80, b"/")),
    "IPv6, long": ("http://[2606:4700:0:0::0:1111]", Url("http", "2606:4700::1111", None, b"/")),
    "IPv6, upper case": ("http://[2001:DB8::A]/", Url("http", "2001:db8::a", None, b"/")),
    "IPv6, empty port": ("http://[2001:db8::a]:/", Url("http", "2001:db8::a", None, b"/")),
    "empty port": ("http://example.com:/", Url("http", "example.com", None, b"/")),
    "port 65535": ("http://example.com:65535/", Url("http", "example.com", 65535, b"/")),
    "upper case, final dot": ("http://EXAMPLE.Com.:81", Url("http", "example.com", 81, b"/")),
    "DEL": ("http://example.com/~\x7f", Url("http", "example.com", None, b"/~%7F")),
    "long label": (f"http://{'a' * 63}.com", Url("http", f"{'a' * 63}.com", None, b"/")),
    "longest": ("http://a.b/" + "a" * 8181, Url("http", "a.b", None, b"/" + b"a" * 8181)),
    "spaces": ("http://example.com/a b?c d", Url("http", "example.com", None, b"/a%20b?c%20d")),
    "encoded": ("http://example.com/a%20b", Url("http", "example.com", None, b"/a%20b")),
    "non-ASCII": ("http://example.com/ä", Url("http", "example.com", None, b"/%C3%A4")),
    "surrogate": ("http://example.com/\ud800", Url("http", "example.com", None, b"/%ED%A0%80")),
    "line break": ("http://example.com/a\r\nX: y", Url("http", "example.com", None, b"/aX:%20y")),
}


@pytest.mark.parametrize(("text", "url"), TAKEN.values(), ids=TAKEN)
def test_taken(text: str, url: Url) -> None:
    assert parse_url(text) == url


REFUSED = {
    "empty": "",
    "file": "file:///etc/passwd",
    "ftp": "ftp://example.com/secret.png",
    "gopher": "gopher://example.com/",
    "dict": "dict://example.com:11211/stat",
    "javascript": "javascript://example.com/%0aalert(1)",
    "unix socket": "unix:///var/run/docker.sock",
    "http over a socket": "http+unix://%2Fvar%2Frun%2Fdocker.sock/secret",
    "no scheme": "//example.com/",
    "nested scheme": "url:http://example.com/",
    "user": "http://user@example.com/",
    "user and password": "http://user:secret@example.com/",
    "empty user": "http://@example.com/",
    "password alone": "http://:secret@example.com/",
    "two hosts": "http://example.com@10.0.0.1/",
    "backslash and host": "http://example.com\\@10.0.0.1/",
    "no host": "http:///secret",
    "no slashes": "http:example.com/",
    "only a port": "http://:80/",
    "port 0": "http://example.com:0/",
    "port too large": "http://example.com:65536/",
    "negative port": "http://example.com:-1/",
    "port of other digits": "http://example.com:８０/",  # noqa: RUF001
    "two ports": "http://example.com:80:80/",
    "open bracket": "http://[::1/",
    "name behind a bracket": "http://[2606:4700::1111]example.com/",
    "dot behind a bracket": "http://[2606:4700::1111].:80/",
    "IPv4 in brackets": "http://[127.0.0.1]/",
    "IPv6 zone": "http://[fe80::1%25eth0]/",
    "IPv6 zone, not encoded": "http://[fe80::1%eth0]/",
    "space in the host": "http://exam ple.com/",
    "NUL in the host": "http://example.com\0.internal/",
    "control character in the host": "http://\x01example.com/",
    "percent in the host": "http://%31%32%37.0.0.1/",
    "wildcard": "http://*/",
    "empty label": "http://example..com/",
    "leading dot": "http://.example.com/",
    "two final dots": "http://example.com../",
    "long label": f"http://{'a' * 64}.com/",
    "surrogate in the host": "http://\ud800.com/",
    "too long": "http://a.b/" + "a" * 8182,
    "no host but a user": "http://user@/",
    "user before IPv6": "http://user@[::1]/",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(UrlRejected, match="cannot be used: (its? |only http and https)") as refused:
        parse_url(text)
    assert "example" not in refused.value.text
    assert "secret" not in refused.value.text


@pytest.mark.parametrize(
    ("text", "header", "port"),
    [
        ("http://Example.com./a", b"example.com", 80),
        ("http://example.com:80/", b"example.com", 80),
        ("https://example.com/", b"example.com", 443),
        ("https://example.com:0443/", b"example.com", 443),
        ("https://example.com:80/", b"example.com:80", 80),
        ("http://example.com:443/", b"example.com:443", 443),
        ("http://example.com:8080/", b"example.com:8080", 8080),
        ("http://[2001:DB8::1]/", b"[2001:db8::1]", 80),
        ("https://[2001:db8::1]:443/", b"[2001:db8::1]", 443),
        ("http://[2001:db8::1]:8080/", b"[2001:db8::1]:8080", 8080),
    ],
)
def test_the_host_header_has_brackets_and_no_port_of_the_scheme(
    text: str, header: bytes, port: int
) -> None:
    """As browsers send it: the signature of a link of S3 covers it."""
    url = parse_url(text)
    assert (url.host_header.encode(), url.connects_to) == (header, port)


REDIRECTS = {
    "absolute": ("http://a/b", "http://c/d", "http://c/d"),
    "path": ("http://a/b?c", "/d", "http://a/d"),
    "relative": ("http://a/b/c", "d", "http://a/b/d"),
    "without scheme": ("https://a/b", "//c/d", "https://c/d"),
    "to TLS": ("http://a/b", "https://a/b", "https://a/b"),
    "upper case": ("https://a/b", "HTTPS://A./b", "https://A./b"),
    "within IPv6": ("http://[2001:db8::1]:81/b", "/c", "http://[2001:db8::1]:81/c"),
    "to IPv6": ("http://a/b", "//[2001:db8::1]/c", "http://[2001:db8::1]/c"),
}


@pytest.mark.parametrize(("text", "location", "url"), REDIRECTS.values(), ids=REDIRECTS)
def test_redirected(text: str, location: str, url: str) -> None:
    assert resolve_redirect(text, location) == url


def test_a_redirect_does_not_leave_tls() -> None:
    with pytest.raises(UrlRejected, match="from https to http"):
        resolve_redirect("https://example.com/a", "HTTP://example.com/a")
    with pytest.raises(UrlRejected, match="from https to http"):
        resolve_redirect("\u00a0https://example.com/a", "http://example.com/a")


def test_a_redirect_to_a_malformed_address() -> None:
    with pytest.raises(UrlRejected, match="malformed"):
        resolve_redirect("http://example.com/a", "http://[")
