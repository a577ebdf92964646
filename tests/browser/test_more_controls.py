"""Several controls: their maps, the result, the price, what is kept, restored and copied."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
from playwright.sync_api import Locator, Page, Route, expect

from app.core.accounts.api_keys import KeyStore, Terms
from app.core.redis.connection import connect
from app.core.requests.types import GenerationParameters
from app.core.requests.work import work_of
from models.spec import Control
from tests.browser.playground import PHOTOGRAPH, Playground, parameters_of
from tests.browser.test_accessibility import PHONE, serious_findings
from tests.browser.test_input_picture import drop
from tests.browser.test_snippets import RUN, copied, picture_of
from tests.support.bodies import small
from tests.support.chromium import Watch
from tests.support.pictures import astronaut, encoded
from tests.support.servers import ROOT, Server
from tests.support.wire import V1

OWN = "person.webp"
PERSON = (ROOT / "app/playground/samples/pose-wave.webp").read_bytes()
CANNY = {"type": "canny", "strength": 1.0, "start": 0.0, "stop": 1.0}
"""The control of the form, with the values of the first sample."""
POSE = {"type": "pose", "strength": 0.7, "start": 0.0, "stop": 0.5}


def add_pose(playground: Playground) -> Locator:
    """A second control with its own picture. Returns its group."""
    playground.button("Add a control").click()
    second = playground.page.get_by_role("group", name="Control 2")
    second.get_by_role("radio", name="pose").check()
    second.get_by_label("Strength", exact=True).fill("0.7")
    picture = {"name": OWN, "mimeType": "image/webp", "buffer": PERSON}
    second.get_by_label("Own picture").set_input_files(picture)
    expect(second).to_contain_text(OWN)
    return second


def body_of(page: Page, path: str, action: Callable[[], None]) -> str:
    """The body of the request that the action makes; chromium shows it to routes alone."""
    bodies: list[bytes] = []

    def keep(route: Route) -> None:
        bodies.append(route.request.post_data_buffer or b"")
        route.continue_()

    page.route(path, keep)
    with page.expect_response(path):
        action()
    page.unroute(path, keep)
    return bodies[0].decode("latin-1")


def test_canny_and_pose_end_to_end_and_after_a_reload(
    playground: Playground, tmp_path: Path
) -> None:
    page = playground.page
    playground.ask()
    playground.field("Seed").fill("7")
    add_pose(playground)
    choice = page.get_by_role("radiogroup", name="Control map of")
    overlay = page.get_by_role("img", name="Control map")
    expect(overlay).to_be_visible()
    of_form = overlay.get_attribute("src")
    pose = choice.get_by_role("radio", name="2 pose")
    assert re.search(r'name="cn_type"\s+pose', body_of(page, "**/preprocess", pose.check))
    expect(overlay).not_to_have_attribute("src", of_form or "")
    expect(overlay).to_be_visible()

    playground.generate()
    playground.expect_result()
    compared = playground.result.get_by_role("radiogroup", name="Compare with")
    for number in (1, 2):
        compared.get_by_role("radio", name=f"Control map {number}").check()
        shown = playground.result.get_by_role("img", name=f"Control map {number}")
        expect(shown).to_have_js_property("naturalWidth", 128)
    first = playground.download(tmp_path)
    assert parameters_of(first)["controls"] == [CANNY, POSE]
    made = first.read_bytes()

    page.reload()
    second = page.get_by_role("group", name="Control 2")
    expect(second).to_contain_text(OWN)
    expect(second.get_by_role("radio", name="pose")).to_be_checked()
    playground.generate()
    playground.expect_result()
    assert playground.download(tmp_path).read_bytes() == made  # of the same own picture


def test_a_produced_file_restores_all_controls(playground: Playground, server: Server) -> None:
    """The pictures stay, that of the second control too."""
    third = {"type": "depth", "strength": 0.3, "start": 0.1, "stop": 0.9}
    body = small(image_format="png", controls=[{**POSE, "strength": 1.25}, POSE, third])
    del body["cn_type"]
    made = httpx.post(server.url + V1, json=body, headers=server.headers, timeout=120)
    assert made.status_code == 200, made.text
    playground.ask()
    second = add_pose(playground)
    second.get_by_label("Strength", exact=True).fill("2")
    drop(playground, made.content, "made.png")
    expect(second.get_by_label("Strength", exact=True)).to_have_value("0.7")
    expect(second).to_contain_text(OWN)
    types = playground.page.get_by_role("group", name="Control type", exact=True)
    expect(types.get_by_role("radio", name="pose")).to_be_checked()
    expect(playground.field("Strength").first).to_have_value("1.25")
    last = playground.page.get_by_role("group", name="Control 3")
    expect(last.get_by_role("radio", name="depth")).to_be_checked()
    for label, value in {"Strength": "0.3", "Start": "0.1", "Stop": "0.9"}.items():
        expect(last.get_by_label(label, exact=True)).to_have_value(value)


def test_copied_code_of_several_controls_runs(
    playground: Playground, server: Server, tmp_path: Path
) -> None:
    playground.ask()
    add_pose(playground)
    for language in RUN:
        code = copied(playground, language)
        assert "cn_type" not in code, language
        folder = tmp_path / language
        folder.mkdir()
        (folder / PHOTOGRAPH).write_bytes(encoded(astronaut((128, 128))))
        (folder / OWN).write_bytes(PERSON)
        picture = picture_of(code, language, folder, server.key)
        assert parameters_of(picture)["controls"] == [CANNY, POSE], language


def test_the_price_of_a_request_and_of_a_comparison_includes_further_controls(
    page: Page, server: Server
) -> None:
    playground = Playground(page)
    with connect(server.redis_url) as redis:
        playground.open(KeyStore(redis).create("guest", Terms(credits=1))[0])
    playground.ask(side=256)
    for _ in range(2):
        playground.button("Add a control").click()
    for number in (2, 3):
        group = page.get_by_role("group", name=f"Control {number}")
        group.get_by_label("Stop", exact=True).fill("0.9")
    further = (Control("depth", 0.45, 0, 0.9),) * 2

    def cost(strength: float, stop: float) -> float:
        params = GenerationParameters(steps=15, cn_strength=strength, cn_stop=stop)
        several = replace(params, controls=(*params.all_controls, *further))
        return work_of(several, (256, 256), "demo")

    expect(page.get_by_text(f"about {cost(1, 1):.1f} credits", exact=True)).to_be_visible()
    playground.field("Strengths").fill("1")
    playground.field("Stops").fill("0.3")
    compare = playground.region("Compare")
    expect(compare).to_contain_text(f"1 pictures of one seed, about {cost(1, 0.3):.1f} credits")
    assert cost(1, 0.3) > 1
    playground.button("Compare").click()
    expect(compare.get_by_role("alert")).to_contain_text("and the key has 1 left")


def test_errors_of_further_controls_stand_beside_their_fields(
    playground: Playground, watch: Watch
) -> None:
    watch.expect("status of 400")
    page = playground.page
    playground.ask()
    second = add_pose(playground)
    strengths = (playground.field("Strength").first, second.get_by_label("Strength", exact=True))
    for strength in strengths:
        strength.fill("3")
    playground.generate()
    for strength in strengths:
        expect(strength).to_have_accessible_description(re.compile("3 is not allowed"))
        strength.fill("1")
    second.get_by_label("Start", exact=True).fill("0.9")
    playground.generate()
    start = second.get_by_label("Start", exact=True)
    expect(start).to_have_accessible_description(re.compile("allowed is a number from 0 to stop"))
    start.fill("0.1")
    notes = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture at all"}
    second.get_by_label("Own picture").set_input_files(notes)
    second.get_by_label("It is already a control map").check()
    playground.generate()
    expect(second.locator("[data-name$='.image']").get_by_role("alert")).not_to_be_empty()

    page.set_viewport_size(PHONE)
    assert serious_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    playground.button("Remove control 2").click()
    expect(second).to_be_hidden()
    body = body_of(page, "**/v2/flux-controlnet", playground.generate)
    assert 'name="cn_type"' in body
    assert "controls" not in body
    playground.expect_result()
