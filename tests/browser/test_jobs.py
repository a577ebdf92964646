"""A request while it runs: its progress, cancelling, a reload and a lost connection."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.playground import Playground
from tests.support.chromium import Watch


@pytest.fixture
def running(playground: Playground) -> Playground:
    """A request of seconds whose first step is shown."""
    playground.ask(steps=75)
    playground.generate()
    running = playground.result.get_by_text(re.compile(r"^Step \d+ of 75"))
    expect(running.first).to_be_visible()  # the second one is for screen readers
    return playground


def test_a_running_request_is_cancelled(running: Playground) -> None:
    running.button("Cancel").click()
    expect(running.result.get_by_text(re.compile("cancelled", re.IGNORECASE))).to_be_visible()
    expect(running.button("Generate")).to_be_enabled()


def test_a_reload_in_mid_job_goes_on(running: Playground) -> None:
    running.page.reload()
    running.expect_result()
    expect(running.field("Prompt")).to_have_value("an astronaut")


def test_pictures_that_outlive_their_request_open_from_the_history(
    playground: Playground, watch: Watch, tmp_path: Path
) -> None:
    watch.expect("status of 404")
    playground.ask()
    playground.field("Seed").fill("7")
    playground.generate()
    playground.expect_result()
    made = playground.download(tmp_path).read_bytes()
    playground.field("Prompt").fill("another")
    gone = {"status": 404, "json": {"error": "Request not found"}}
    playground.page.route("**/v2/requests/*", lambda route: route.fulfill(**gone))
    playground.page.reload()
    playground.history.first.click()
    playground.expect_result()
    expect(playground.field("Prompt")).to_have_value("an astronaut")
    expect(playground.result).to_contain_text("128 · seed 7")
    assert playground.download(tmp_path).read_bytes() == made


def test_a_lost_connection_in_mid_job_is_taken_up_again(
    running: Playground, context: BrowserContext, watch: Watch
) -> None:
    watch.expect("net::ERR_")
    context.set_offline(True)
    context.set_offline(False)
    running.expect_result()
