"""Code that is copied from the page runs as it is and makes the picture of the form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import playwright
import pytest
from playwright.sync_api import BrowserContext

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
PROMPT = 'it\'s "50 %" of $HOME, `id` & <b>\\n</b>! ä 日\nsecond line'


@pytest.mark.parametrize("language", RUN)
def test_copied_code_makes_the_same_picture(
    playground: Playground, context: BrowserContext, server: Server, tmp_path: Path, language: str
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    playground.ask(control="depth")
    playground.field("Prompt").fill(PROMPT)
    playground.field("Seed").fill("7")
    playground.button(f"Copy as {language}").click()
    code = playground.page.evaluate("navigator.clipboard.readText()")
    assert server.key not in code
    (tmp_path / PHOTOGRAPH).write_bytes(encoded(astronaut((128, 128))))
    done = subprocess.run(
        [*RUN[language], *(["-"] if language != "curl" else [])],
        input=code,
        cwd=tmp_path,
        env={**os.environ, "API_KEY": server.key},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, code + done.stderr
    [picture] = tmp_path.glob("picture-*")
    made = parameters_of(picture)
    expected = {"prompt": PROMPT, "seed": 7, "cn_type": "depth", "steps": 15}
    assert {name: made[name] for name in expected} == expected
