from __future__ import annotations

from datetime import datetime

import pytest

from app.core.clock import rfc3339


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000.25, "2023-11-14T22:13:20.250Z"),
        (1_795_945_935, "2026-11-29T09:52:15.000Z"),
        (1.9999, "1970-01-01T00:00:01.999Z"),
        (253_402_300_799, "9999-12-31T23:59:59.000Z"),
    ],
)
@pytest.mark.usefixtures("far_from_utc")
def test_rfc3339_is_utc_with_milliseconds(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text
    assert int(datetime.fromisoformat(text).timestamp()) == int(seconds)
