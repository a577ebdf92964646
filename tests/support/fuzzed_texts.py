"""Texts that resemble a picture or a URL until they are parsed."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.support.hostile import PRIVATE, SPELLINGS, as_host


def _pieces(*pieces: str, most: int) -> SearchStrategy[str]:
    """Some of them in any order, and now and then any text at all."""
    piece = st.sampled_from(pieces) | st.text(max_size=10)
    return st.lists(piece, max_size=most).map("".join)


inline_pictures = st.one_of(
    st.text(max_size=200),
    _pieces("data:", "DATA:", "image/png", ";base64", ",", "%2B", "%0a", "%", most=12),
    _pieces("QUJD", "QQ==", "=", "-_", "+/", "\n", " ", "\ufeff", "\0", "\ud800", "é", most=40),
    st.binary(max_size=100).map(lambda data: "data:;base64," + data.hex()),
)

_HOSTS = [*SPELLINGS.values(), *map(as_host, PRIVATE.values()), "example.com", "bücher.example"]

urls = st.one_of(
    st.text(max_size=100),
    _pieces("http", "https", "file", ":", "//", "/", "\\", "@", "[", "]", "?", "#", most=12),
    st.builds(
        "{}://{}{}{}{}".format,
        st.sampled_from(("http", "https", "HTTP", "ftp", "")),
        st.sampled_from(("", "", "", "user@", "a:b@", "%00")),
        st.sampled_from(_HOSTS) | st.text(max_size=20),
        st.sampled_from(("", "", ":80", ":0", ":99999", ":x", ":")),
        st.text(max_size=30).map("/".__add__) | st.just("/" + "a" * 9000),
    ),
)
