from __future__ import annotations

import pytest

from app.replay import Api


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "FILE:///etc/hostname", "ftp://127.0.0.1/x"]
)
def test_a_url_in_a_response_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        Api("http://127.0.0.1:9", "key").call(url)


def test_a_server_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="127.0.0.1:9/v2/x is no URL"):
        Api("127.0.0.1:9", "key").call("/v2/x")
