"""Screenshots of both themes, of a telephone and of a comparison, for README and docs/images:

    scripts/test tests/browser/test_screenshots.py --screenshots docs/images

Without the option they are smaller, made faster and thrown away. The same page, model and libraries
make the same bytes: seed, clock and the seconds in the model are fixed.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, ViewportSize, expect

from tests.browser.playground import Playground
from tests.support.pictures import opened

DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 1500}
TALL: ViewportSize = {"width": 1280, "height": 1800}
SEED = "7"
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MAX_BYTES = 250_000
PATIENCE_MS = 250_000.0


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    chosen = request.config.getoption("--screenshots")
    return Path(chosen) if chosen else tmp_path


@pytest.fixture
def fixed(playground: Playground, folder: Path, tmp_path: Path) -> Playground:
    """What differs between two runs is fixed. The request is small unless the pictures are kept."""
    page = playground.page
    page.clock.set_fixed_time(NOON)
    page.route("**/v2/requests/*", with_fixed_seconds)
    if folder == tmp_path:
        playground.ask()
    playground.field("Seed").fill(SEED)
    return playground


def with_fixed_seconds(route: Route) -> None:
    if route.request.method != "GET":
        return route.fallback()
    answer = route.fetch()
    body = answer.json()
    if "metrics" in body:
        body["metrics"]["inference_time"] = 1.5
    return route.fulfill(response=answer, body=json.dumps(body))


def generate(playground: Playground) -> None:
    """With the patience for the full size on a busy machine."""
    playground.generate()
    expect(playground.button("Generate")).to_be_enabled(timeout=PATIENCE_MS)
    playground.expect_result()
    playground.page.get_by_label("Border between input and result").fill("30")


def save(shown: Page | Locator, file: Path) -> Image.Image:
    """As a PNG of 256 colours, a third of the size. Returns the picture."""
    image = opened(shown.screenshot()).convert("RGB")
    colours = image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    file.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG).save(file, optimize=True)
    assert file.stat().st_size <= MAX_BYTES
    return image


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_result(fixed: Playground, folder: Path, theme: Literal["light", "dark"]) -> None:
    page = fixed.page
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme=theme)
    generate(fixed)
    # The settings are scrolled to the seed, which was filled in.
    page.get_by_role("heading", name="Picture", exact=True).scroll_into_view_if_needed()
    shown = save(page, folder / f"playground-{theme}.png")
    assert shown.size == (DESKTOP["width"], DESKTOP["height"])
    brightness = shown.convert("L").resize((1, 1)).getpixel((0, 0))
    assert isinstance(brightness, int)
    assert (brightness > 128) == (theme == "light")


def test_a_telephone(fixed: Playground, folder: Path) -> None:
    fixed.page.set_viewport_size(PHONE)
    generate(fixed)
    fixed.page.evaluate("scrollTo(0, 0)")
    assert save(fixed.page, folder / "playground-phone.png").width == PHONE["width"]


def test_a_comparison(fixed: Playground, folder: Path, tmp_path: Path) -> None:
    fixed.page.set_viewport_size(TALL)  # the whole panel at once
    fixed.field("Strengths").fill("0.2, 0.6, 1" if folder != tmp_path else "1")
    fixed.field("Stops").fill("0.3, 0.6, 1" if folder != tmp_path else "1")
    fixed.button("Compare").click()
    expect(fixed.button("Download contact sheet")).to_be_visible(timeout=PATIENCE_MS)
    save(fixed.region("Compare"), folder / "playground-compare.png")
