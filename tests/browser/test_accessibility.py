"""axe-core finds nothing serious, and a telephone's width is enough, in every state of the page."""

from __future__ import annotations

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.playground import Playground

PHONE = {"width": 390, "height": 844}


def serious_findings(page: Page) -> list[str]:
    """`rule: elements` of what axe-core calls serious or critical."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {[node['target'] for node in each['nodes']]}"
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_before_and_after_a_result(
    playground: Playground, theme: Literal["light", "dark"]
) -> None:
    page = playground.page
    page.emulate_media(color_scheme=theme)
    for details in page.locator("details").all():
        details.evaluate("details => { details.open = true; }")
    assert serious_findings(page) == []
    playground.ask()
    playground.generate()
    playground.expect_result()
    assert serious_findings(page) == []


def test_a_phone_shows_everything_without_scrolling_sideways(playground: Playground) -> None:
    page = playground.page
    page.set_viewport_size(PHONE)
    playground.ask()
    playground.generate()
    playground.expect_result()
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == PHONE["width"]
    assert serious_findings(page) == []
