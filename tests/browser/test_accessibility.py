"""axe-core finds nothing serious, and the width is enough, in every state of the page."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.playground import Playground
from tests.support.chromium import Watch
from tests.support.pictures import astronaut, encoded

pytestmark = pytest.mark.timeout(600)
PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
LONG = "\u05e9\u05dc\u05d5\u05dd \N{FOX FACE} " + "x" * 3000 + " a star" * 400
"""Right to left, an emoji, a word without a place to break, and many lines."""


def serious_findings(page: Page) -> list[str]:
    """`rule: elements` of what axe-core calls serious or critical."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {[node['target'] for node in each['nodes']]}"
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


def test_every_state_is_accessible_and_fits_into_each_window(
    playground: Playground, watch: Watch
) -> None:
    """Each state is reached once, alternately on a telephone and in a window of a desktop."""
    watch.expect("status of 4")
    page = playground.page
    faults: list[str] = []
    views: list[tuple[Literal["light", "dark"], ViewportSize]]
    views = [("dark", DESKTOP), ("light", PHONE)]

    def check(state: str) -> None:
        """In both views. The next state is reached in the last one."""
        for theme, size in views:
            page.emulate_media(color_scheme=theme)
            page.set_viewport_size(size)
            place = f"{state}, {theme}, {size['width']}"
            faults.extend(f"{place}: {finding}" for finding in serious_findings(page))
            width = page.evaluate("document.documentElement.scrollWidth")
            if width != size["width"]:
                faults.append(f"{place}: {width} wide")
        views.reverse()

    page.locator("details").first.evaluate("details => { details.open = true; }")
    playground.button("URL").click()
    check("first visit")
    playground.page.locator("#key-open").click()
    check("key")
    playground.button("Later").click()

    playground.ask(steps=75)
    playground.field("Prompt").fill(LONG)
    playground.generate()
    running = playground.result.get_by_text(re.compile(r"^Step \d+ of 75"))
    expect(running.first).to_be_visible()  # the second one is for screen readers
    check("running")
    playground.expect_result()
    check("result")
    playground.button("Zoom").click()
    check("zoom")
    playground.button("Close").click()

    playground.ask()
    playground.choose("Samples", "2")
    playground.generate()
    playground.expect_result(2)
    expect(playground.history).to_have_count(2)
    check("samples and history")

    for _ in range(2):
        playground.button("Add a control").click()
    second = page.get_by_role("group", name="Control 2")
    picture = {"name": "x" * 80 + ".png", "mimeType": "image/png", "buffer": encoded(astronaut())}
    second.get_by_label("Own picture").set_input_files(picture)
    page.get_by_role("radio", name=re.compile("^2 ")).check()
    expect(page.get_by_role("img", name="Control map")).to_be_visible()
    playground.field("Prompt").fill(LONG)
    playground.choose("Samples", "1")
    playground.generate()
    playground.expect_result()
    expect(playground.field("Prompt")).to_have_accessible_description(re.compile("Warning"))
    playground.result.get_by_role("radio", name="Control map 2").check()
    check("several controls and warnings")

    playground.field("Strengths").fill("0, 0.5, 1, 2")
    playground.field("Stops").fill("0.1, 0.4, 0.7, 1")
    playground.button("Compare").click()
    grid = page.get_by_role("table", name="Comparison")
    expect(grid.get_by_role("img").first).to_be_visible()
    playground.button("Cancel all").click()
    expect(grid).to_contain_text("cancelled")
    check("comparison")

    playground.field("Steps").fill("7")
    playground.field("Strengths").fill("strong")
    playground.button("Compare").click()
    playground.choose_picture(b"no picture at all", "notes.png")
    playground.generate()
    expect(playground.field("Steps")).to_have_attribute("aria-invalid", "true")
    check("errors")
    assert faults == []
