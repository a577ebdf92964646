"""Commands that run in this process find no server of this checkout, though tests run some."""

from __future__ import annotations

import pytest

from app.standalone import running_server


@pytest.fixture(autouse=True)
def _no_running_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_server, "running_servers", list)
