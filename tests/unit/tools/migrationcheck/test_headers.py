"""The headers that are part of the API."""

from __future__ import annotations

import pytest

from tools.migrationcheck.headers import compared

pytestmark = pytest.mark.tools


def test_headers_of_transport_and_proxies_are_left_out() -> None:
    of_proxies = {"x-powered-by": "a", "x-amz-cf-id": "b", "server": "c", "set-cookie": "d"}
    ours = {"content-type": "image/png", "retry-after": "1", "x-cost": "2"}
    assert compared({**of_proxies, **ours}) == ours
