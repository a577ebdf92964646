"""A grid of strengths and stops: 2x2 of one seed, its contact sheet, and cancelling the rest."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.playground import Playground
from tests.support.pictures import opened


@pytest.fixture
def comparing(playground: Playground) -> Playground:
    playground.ask()
    playground.field("Strengths").fill("0.2, 1")
    playground.field("Stops").fill("0.3, 0.9")
    return playground


def grid(playground: Playground) -> Locator:
    return playground.page.get_by_role("table", name="Comparison")


def test_two_strengths_and_two_stops_are_four_pictures_and_a_sheet(
    comparing: Playground,
) -> None:
    comparing.button("Compare").click()
    pictures = grid(comparing).get_by_role(
        "img", name=re.compile("^strength (0.2|1), stop 0.[39]$")
    )
    expect(pictures).to_have_count(4)
    expect(comparing.page.get_by_text("4 of 4 done")).to_be_visible()
    with comparing.page.expect_download() as download:
        comparing.button("Download contact sheet").click()
    sheet = opened(download.value.path().read_bytes())
    assert sheet.format == "PNG"
    assert min(sheet.size) > 2 * 128


def test_cancel_stops_the_rest(comparing: Playground) -> None:
    comparing.field("Steps").fill("75")
    comparing.button("Compare").click()
    expect(grid(comparing).get_by_role("progressbar").first).to_be_visible()
    comparing.button("Cancel all").click()
    expect(comparing.button("Compare")).to_be_enabled()
    expect(grid(comparing)).to_contain_text("cancelled")


def test_what_is_no_number_has_its_sentence(comparing: Playground) -> None:
    comparing.field("Strengths").fill("strong")
    comparing.button("Compare").click()
    panel = comparing.page.get_by_role("region", name="Compare")
    expect(panel.get_by_role("alert")).to_contain_text("Strengths: give 1 to 4 numbers")
