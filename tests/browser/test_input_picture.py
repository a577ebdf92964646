"""The ways to a picture: by URL, dropped, a produced one, one without a person."""

from __future__ import annotations

from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser.playground import Playground, parameters_of
from tests.support.bodies import small
from tests.support.pictures import PictureHost, astronaut, encoded
from tests.support.servers import Server
from tests.support.wire import V1


def drop(playground: Playground, data: bytes, name: str) -> None:
    """As from the file manager."""
    dropped = {"dataTransfer": playground.transfer(data, name)}
    playground.page.locator("main").dispatch_event("drop", dropped)


def test_a_picture_by_url_is_fetched_by_the_server_alone(
    playground: Playground, host: PictureHost
) -> None:
    url = host.serve("/by-url.png", encoded(astronaut((128, 128))))
    playground.ask()
    playground.button("URL").click()
    playground.field("Picture URL").fill(url)
    playground.button("Use").click()
    expect(playground.page.get_by_role("img", name="Control map")).to_be_visible()
    playground.generate()
    playground.expect_result()


def test_a_picture_can_be_dropped(playground: Playground) -> None:
    playground.ask()
    drop(playground, encoded(astronaut((96, 80))), "dropped.png")
    shown = playground.page.get_by_role("img", name="Input picture")
    expect(shown).to_have_js_property("naturalWidth", 96)


def test_a_picture_can_be_pasted_also_into_the_prompt(playground: Playground) -> None:
    playground.ask()
    pasted = playground.transfer(encoded(astronaut((90, 80))), "pasted.png")
    event = "(node, clipboardData) => node.dispatchEvent(new ClipboardEvent('paste', {%s}))"
    options = "clipboardData, bubbles: true, cancelable: true"
    playground.field("Prompt").evaluate(event % options, pasted)
    shown = playground.page.get_by_role("img", name="Input picture")
    expect(shown).to_have_js_property("naturalWidth", 90)
    expect(playground.field("Prompt")).to_have_value("an astronaut")


def test_a_phone_offers_its_camera(chromium: Browser, server: Server) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    with chromium.new_context(base_url=server.url, reduced_motion="reduce", **phone) as context:
        playground = Playground(context.new_page())
        playground.open(server.key)
        expect(playground.page.get_by_text("Camera", exact=True)).to_be_visible()
        camera = playground.page.locator("#picture-camera")
        expect(camera).to_have_attribute("capture", "environment")
        shot = {"name": "image.png", "mimeType": "image/png"}
        camera.set_input_files({**shot, "buffer": encoded(astronaut((70, 80)))})
        shown = playground.page.get_by_role("img", name="Input picture")
        expect(shown).to_have_js_property("naturalWidth", 70)


def test_a_produced_file_restores_its_parameters(playground: Playground, server: Server) -> None:
    body = small(
        seed=2**60 + 1, cn_strength=1.25, image_format="png", prompt='"ä"\nb', sampler="heun"
    )
    made = httpx.post(server.url + V1, json=body, headers=server.headers, timeout=120)
    drop(playground, made.content, "made.png")
    expect(playground.field("Prompt")).to_have_value(body["prompt"])
    expect(playground.field("Seed")).to_have_value(str(body["seed"]))
    expect(playground.field("Strength")).to_have_value("1.25")
    expect(playground.field("Sampler")).to_have_value("heun")
    canny = playground.page.get_by_role("radio", name="canny", exact=True)
    expect(canny).to_be_checked()


def test_a_result_can_be_the_next_input(playground: Playground, tmp_path: Path) -> None:
    playground.ask()
    playground.field("Prompt").fill("first")
    playground.generate()
    playground.expect_result()
    playground.button("Use as input").click()
    expect(playground.page.get_by_role("img", name="Input picture")).to_be_visible()
    playground.field("Prompt").fill("second")
    playground.generate()
    expect(playground.button("Generate")).to_be_enabled()
    playground.expect_result()
    assert parameters_of(playground.download(tmp_path))["prompt"] == "second"


def test_a_pose_map_without_a_person_has_a_hint(playground: Playground) -> None:
    playground.ask(control="pose")
    playground.choose_picture(encoded(Image.new("RGB", (64, 64), "gray")))
    picture = playground.page.get_by_role("region", name="Picture")
    expect(picture.get_by_role("status")).to_contain_text("No person was found")
