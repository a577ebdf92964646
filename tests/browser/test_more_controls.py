"""Further controls: what the page sends, what it copies, and where their errors stand. The schema
of `controls` and the response are given here.
"""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import Page, Route, expect

from models.spec import CONTROL_NAMES
from tests.browser.playground import Playground
from tests.browser.test_accessibility import PHONE, serious_findings
from tests.support.chromium import Watch
from tests.support.pictures import astronaut, encoded
from tests.support.servers import Server


def share(maximum: float, default: float) -> dict[str, Any]:
    return {"type": "number", "minimum": 0, "maximum": maximum, "default": default}


ITEM = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": list(CONTROL_NAMES)},
        "image": {"type": "string"},
        "control_image": {"type": "string"},
        "strength": share(2, 0.45),
        "start": share(1, 0),
        "stop": share(1, 0.5),
    },
}
CONTROLS = {"type": "array", "minItems": 1, "maxItems": 3, "items": ITEM}


def with_controls(route: Route) -> None:
    answer = route.fetch()
    form = answer.json()
    form["schema"]["properties"]["controls"] = CONTROLS
    route.fulfill(response=answer, json=form)


def test_further_controls_are_sent_copied_and_kept(
    page: Page, server: Server, watch: Watch
) -> None:
    watch.expect("status of 400")
    bodies: list[str] = []

    def refuse(route: Route) -> None:
        bodies.append((route.request.post_data_buffer or b"").decode("latin-1"))
        error = "controls[0].strength: 3 is not allowed; controls[1].stop: below start"
        route.fulfill(status=400, body=json.dumps({"error": error}))

    page.route("**/playground/form.json", with_controls)
    page.route("**/v2/flux-controlnet", refuse)
    playground = Playground(page)
    playground.open(server.key)
    playground.ask()
    for number in (2, 3):
        playground.button("Add a control").click()
        expect(page.get_by_role("group", name=f"Control {number}")).to_be_visible()
    expect(playground.button("Add a control")).to_be_hidden()
    playground.button("Remove control 2").click()

    second = page.get_by_role("group", name="Control 2")
    second.get_by_role("radio", name="depth").check()
    second.get_by_label("Strength", exact=True).fill("0.7")
    picture = {"name": "own.png", "mimeType": "image/png", "buffer": encoded(astronaut((64, 64)))}
    second.get_by_label("Own picture").set_input_files(picture)
    second.get_by_label("It is already a control map").check()
    expect(second).to_contain_text("own.png")

    code = page.locator("#snippet")
    for language in ("Python", "JavaScript", "curl"):
        playground.button(f"Copy as {language}").click()
        expect(code).to_contain_text("own.png")
        assert "cn_type" not in code.inner_text()
        if language == "Python":
            compile(code.inner_text(), "copied", "exec")
    assert "-F 'controls[1].control_image=@\"own.png\"'" in code.inner_text()

    playground.generate()
    expect(second.get_by_label("Stop", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(playground.field("Strength").first).to_have_attribute("aria-invalid", "true")
    [body] = bodies
    [sent] = re.findall(r'name="controls"\s+(\[.*\])', body)
    first = {"type": "canny", "strength": 1, "stop": 1}  # of the sample
    assert json.loads(sent) == [first, {"type": "depth", "strength": 0.7, "start": 0, "stop": 0.5}]
    assert 'name="controls[1].control_image"; filename=' in body
    assert "cn_type" not in body

    page.set_viewport_size(PHONE)
    assert serious_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.reload()
    expect(second.get_by_label("Strength", exact=True)).to_have_value("0.7")
