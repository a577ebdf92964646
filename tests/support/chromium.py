"""Debian's chromium for tests, driven by Playwright, and what must not happen on a page.

Playwright's own browsers are never downloaded.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Request, sync_playwright

FLAGS = (
    "--no-sandbox",  # it refuses to run as root with one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium(environment: Mapping[str, str] = os.environ) -> str:
    """Its path. Skips the test on a machine without it, and fails it where it is required: with
    CI=true, as continuous integration sets it, or with REQUIRE_CHROMIUM=1."""
    found = shutil.which("chromium", path=environment.get("PATH", ""))
    if found is None:
        reason = "chromium is not installed: not in PATH (Debian package chromium)"
        if environment.get("CI") == "true" or environment.get("REQUIRE_CHROMIUM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Until the end of the block, this thread has a running asyncio loop: asyncio.run fails."""
    executable = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


class Watch:
    """Records what no page may do: log an error, leave an exception uncaught, or send a request to
    another host.

    requests: `METHOD path` of each request to the page's own host, in order.
    """

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.context = context
        self._origin = origin
        self._expected: list[str] = []
        context.on("console", self._logged)
        context.on("weberror", lambda error: self.faults.append(f"uncaught: {error.error}"))
        context.on("request", self._sent)

    def expect(self, text: str) -> None:
        """From now on, a logged error with this text is no fault. chromium logs each failed request
        itself, such as `status of 401` and `net::ERR_INTERNET_DISCONNECTED`."""
        self._expected.append(text)

    def _logged(self, message: ConsoleMessage) -> None:
        expected = any(text in message.text for text in self._expected)
        if message.type in ("error", "warning") and not expected:
            self.faults.append(f"console: {message.text} ({message.location.get('url')})")

    def _sent(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("blob", "data"):
            return
        if f"{parts.scheme}://{parts.netloc}" == self._origin:
            self.requests.append(f"{request.method} {parts.path}")
        else:
            self.faults.append(f"request to another host: {request.url}")
