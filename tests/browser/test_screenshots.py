"""Screenshots of both themes and of a comparison, for docs/images:

    scripts/test tests/browser/test_screenshots.py --screenshots docs/images

Without the option they are smaller, made faster and thrown away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import expect

from tests.browser.playground import Playground
from tests.support.pictures import opened

DESKTOP = {"width": 1280, "height": 900}
TALL = {"width": 1280, "height": 1800}
SEED = "7"


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    chosen = request.config.getoption("--screenshots")
    return Path(chosen) if chosen else tmp_path


def small_unless_kept(playground: Playground, folder: Path, tmp_path: Path) -> None:
    if folder == tmp_path:
        playground.ask()
    playground.field("Seed").fill(SEED)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_result(
    playground: Playground, folder: Path, tmp_path: Path, theme: Literal["light", "dark"]
) -> None:
    page = playground.page
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme=theme)
    small_unless_kept(playground, folder, tmp_path)
    playground.generate()
    playground.expect_result()
    # The settings are scrolled to the seed, which was filled in.
    page.get_by_role("heading", name="Picture", exact=True).scroll_into_view_if_needed()
    page.screenshot(path=folder / f"playground-{theme}.png")
    shown = opened((folder / f"playground-{theme}.png").read_bytes())
    assert shown.size == (DESKTOP["width"], DESKTOP["height"])
    brightness = shown.convert("L").resize((1, 1)).getpixel((0, 0))
    assert isinstance(brightness, int)
    assert (brightness > 128) == (theme == "light")


def test_a_comparison(playground: Playground, folder: Path, tmp_path: Path) -> None:
    page = playground.page
    page.set_viewport_size(TALL)  # the whole panel at once
    small_unless_kept(playground, folder, tmp_path)
    playground.field("Strengths").fill("0.2, 0.6, 1" if folder != tmp_path else "1")
    playground.field("Stops").fill("0.3, 0.6, 1" if folder != tmp_path else "1")
    playground.button("Compare").click()
    expect(playground.button("Download contact sheet")).to_be_visible(timeout=300_000)
    panel = page.get_by_role("region", name="Compare")
    panel.screenshot(path=folder / "playground-compare.png")
    assert (folder / "playground-compare.png").stat().st_size > 0
