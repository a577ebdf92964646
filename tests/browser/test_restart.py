"""The server stops in mid-job and starts again with its data: the page goes on, nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.playground import Playground, parameters_of
from tests.support.chromium import Watch
from tests.support.servers import Server, start_server, stop_server

pytestmark = pytest.mark.timeout(600)
RESTART_MS = 180_000.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, which the test stops; the page opens it in place of the shared one."""
    server = start_server(tmp_path / "data", GRACE_S="2", DRAIN_S="0")
    yield server
    if server.process.poll() is None:
        stop_server(server)


def test_a_restart_in_mid_job_loses_neither_the_job_nor_what_is_typed(
    playground: Playground, server: Server, watch: Watch, tmp_path: Path
) -> None:
    for text in ("net::ERR_", "status of 50"):
        watch.expect(text)
    port = server.url.rpartition(":")[2]
    playground.ask(side=256, steps=75)
    playground.choose("Samples", "2")
    playground.generate()
    running = playground.result.get_by_text(re.compile(r"^Step \d+ of "))
    expect(running.first).to_be_visible()  # the second one is for screen readers
    playground.field("Prompt").fill("typed in mid-job")
    stop_server(server)
    expect(playground.result.get_by_text("The server is away.").first).to_be_visible()
    playground.field("Guidance").fill("4.2")

    # The last of two options counts.
    again = start_server(tmp_path / "data", "--port", port)
    try:
        expect(playground.button("Generate")).to_be_enabled(timeout=RESTART_MS)
        playground.expect_result(2)
        playground.result.get_by_role("button", name=re.compile("^Open result 1")).click()
        assert parameters_of(playground.download(tmp_path))["prompt"] == "an astronaut"
        for _ in range(2):
            expect(playground.field("Prompt")).to_have_value("typed in mid-job")
            expect(playground.field("Guidance")).to_have_value("4.2")
            playground.page.reload()
    finally:
        stop_server(again)
