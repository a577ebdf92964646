"""The browser tests themselves: when they are skipped, and that they notice a faulty page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.chromium import Watch, find_chromium
from tests.support.pictures import PictureHost


@pytest.mark.parametrize(
    ("environment", "outcome"),
    [
        ({}, pytest.skip.Exception),
        ({"CI": "false", "REQUIRE_CHROMIUM": ""}, pytest.skip.Exception),
        ({"CI": "true"}, pytest.fail.Exception),
        ({"REQUIRE_CHROMIUM": "1"}, pytest.fail.Exception),
    ],
)
def test_without_chromium_its_tests_are_skipped_with_a_reason_and_fail_in_ci(
    tmp_path: Path, environment: dict[str, str], outcome: type[BaseException]
) -> None:
    with pytest.raises(outcome, match="chromium is not installed"):
        find_chromium({"PATH": str(tmp_path), **environment})


FAULTS = {
    "console.error('broken')": "console: broken",
    "setTimeout(() => { throw new Error('late') })": "uncaught: late",
    "Promise.reject(new Error('lost'))": "uncaught: lost",
    "fetch('http://127.0.0.1:9/x').catch(() => 0)": "request to another host: http://127.0.0.1:9/",
    "fetch('/missing')": "console: Failed to load resource: the server responded with a status of",
    "fetch('/hidden')": None,
}


def test_each_fault_of_a_page_is_noticed_unless_expected(
    chromium: Browser, host: PictureHost
) -> None:
    scripts = "".join(f"<script>{script}</script>" for script in FAULTS)
    body = f"<!doctype html><link rel=icon href=data:,>{scripts}"
    url = host.serve("/faulty", body.encode(), "text/html")
    host.answer("/hidden", lambda handler: handler.send_error(410))
    with chromium.new_context() as context:
        watch = Watch(context, host.origin)
        watch.expect("status of 410")
        context.new_page().goto(url, wait_until="networkidle")
    noticed = [fault for fault in FAULTS.values() if fault]
    assert [fault for fault in noticed if not any(fault in found for found in watch.faults)] == []
    assert not any("410" in found for found in watch.faults)
