"""Fixtures of the browser tests: one chromium for the folder, and for each test a new profile in
which every fault of the page fails the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.playground import Playground
from tests.support.chromium import Watch, find_chromium, running_chromium
from tests.support.servers import Server

PATIENCE_MS = 60_000.0
"""The longest wait for an event. Tests end sooner: they wait for events, never for time."""


def pytest_runtest_setup() -> None:
    """Without chromium, skips before a server starts, with one line in the summary for all tests:
    pytest reports a skip in a fixture once for each test."""
    find_chromium()


# Of the package, not of the session: its event loop would break the asyncio.run of later tests.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        expect.set_options(timeout=PATIENCE_MS)
        yield browser


@pytest.fixture
def context(chromium: Browser, server: Server) -> Iterator[BrowserContext]:
    """A profile without history, in which animations are off."""
    profile = chromium.new_context(base_url=server.url, reduced_motion="reduce", locale="en-GB")
    profile.set_default_timeout(PATIENCE_MS)
    yield profile
    for page in profile.pages:
        page.unroute_all(behavior="wait")  # else the end of a request fails in the next test
    profile.close()


@pytest.fixture
def watch(context: BrowserContext, server: Server) -> Iterator[Watch]:
    watching = Watch(context, server.url)
    yield watching
    assert watching.faults == []


@pytest.fixture
def page(watch: Watch) -> Page:
    return watch.context.new_page()


@pytest.fixture
def playground(page: Page, server: Server) -> Playground:
    """The page at `/`, opened with the key as the printed address has it."""
    playground = Playground(page)
    playground.open(server.key)
    return playground
