"""Code that is copied from the page runs as it is and makes the picture of the form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import playwright
import pytest
from playwright.sync_api import expect

from tests.browser.playground import PHOTOGRAPH, Playground, parameters_of
from tests.support.pictures import astronaut, encoded
from tests.support.servers import Server

NODE = Path(playwright.__file__).parent / "driver" / "node"
RUN = {
    "curl": ("bash",),
    "Python": (sys.executable,),
    "JavaScript": (str(NODE), "--input-type=module"),
}
"""What runs the code of each language from standard input."""
PROMPT = (
    'it\'s "50 %" of $HOME, `id` & <b>\\n</b>! ä 日 \u05e9\u05dc\u05d5\u05dd \N{FOX FACE}\n'
    "second line"
)


def copied(playground: Playground, language: str) -> str:
    playground.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    playground.button(f"Copy as {language}").click()
    code: str = playground.page.evaluate("navigator.clipboard.readText()")
    return code


def picture_of(code: str, language: str, folder: Path, key: str) -> Path:
    """The file that the copied code writes when it runs in `folder`."""
    done = subprocess.run(
        [*RUN[language], *(["-"] if language != "curl" else [])],
        input=code,
        cwd=folder,
        env={**os.environ, "API_KEY": key},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, code + done.stderr
    [picture] = folder.glob("picture-*")
    return picture


@pytest.mark.parametrize("language", RUN)
def test_copied_code_makes_the_same_picture(
    playground: Playground, server: Server, tmp_path: Path, language: str
) -> None:
    playground.ask(control="depth")
    playground.field("Prompt").fill(PROMPT)
    playground.field("Seed").fill("7")
    playground.button("Add a LoRA").click()
    code = copied(playground, language)
    assert server.key not in code
    (tmp_path / PHOTOGRAPH).write_bytes(encoded(astronaut((128, 128))))
    picture = picture_of(code, language, tmp_path, server.key)
    made = parameters_of(picture)
    expected = {"prompt": PROMPT, "seed": 7, "cn_type": "depth", "steps": 15}
    assert {name: made[name] for name in expected} == expected
    assert [(lora["name"], lora["scale"]) for lora in made["loras"]] == [("cyanotype", 1)]


def test_a_control_map_is_copied_as_a_control_map_and_runs_in_a_page(
    playground: Playground, server: Server
) -> None:
    """Of a sample, the JavaScript runs in a browser too, which asks for the key."""
    page = playground.page
    playground.field("This picture is already a control map").check()
    playground.field("Seed").fill("7")
    assert "control_image=@" in copied(playground, "curl")
    assert "control_image=" in copied(playground, "Python")
    code = copied(playground, "JavaScript")
    page.once("dialog", lambda dialog: dialog.accept(server.key))
    with page.expect_request("**/v2/flux-controlnet") as sent:
        page.evaluate(f"async () => {{ {code} }}")
    body = sent.value.post_data_json
    assert body["seed"] == 7
    assert len(body["control_image"]) > 1000
    assert "image" not in body
    expect(page.get_by_role("img", name="0.jpeg")).to_have_js_property("complete", True)
