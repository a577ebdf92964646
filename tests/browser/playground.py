"""The playground as a user sees it: what can be read, typed and pressed, by roles and labels."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import JSHandle, Locator, Page, expect

from app.commands.receipt_files import read_statement
from tests.support.pictures import astronaut, encoded
from tests.support.servers import ROOT

PHOTOGRAPH = "photo.png"
SAMPLES = json.loads((ROOT / "app/playground/samples/samples.json").read_text())
"""What the page offers: title, file and values of each sample."""


class Playground:
    """The page at `/`."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, key: str, path: str = "/") -> None:
        """As the address that `scripts/up` prints; a first visit ends with the first sample."""
        self.page.goto(f"{path}#key={key}")
        expect(self.button(SAMPLES[0]["title"])).to_have_attribute("aria-pressed", "true")

    def field(self, label: str) -> Locator:
        labelled = self.page.get_by_label(label, exact=True)
        return labelled.and_(self.page.locator("input, select, textarea"))

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def choose_picture(self, data: bytes, name: str = PHOTOGRAPH) -> None:
        file = {"name": name, "mimeType": "image/png", "buffer": data}
        self.field("Picture file").set_input_files(file)

    def choose(self, group: str, choice: str) -> None:
        """One of the few choices that stand side by side."""
        choices = self.page.get_by_role("group", name=group, exact=True)
        choices.get_by_role("radio", name=choice, exact=True).check()

    def ask(self, side: int = 128, steps: int = 15, control: str = "canny") -> None:
        """Fill in a request of a fraction of a second."""
        self.choose_picture(encoded(astronaut((side, side))))
        self.field("Prompt").fill("an astronaut")
        self.field("Steps").fill(str(steps))
        self.choose("Control type", control)

    def generate(self) -> None:
        self.button("Generate").click()

    def tab_to(self, wanted: Locator) -> None:
        """Press the tab key until the element has the focus."""
        for _ in range(120):
            if wanted.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"no tab stop {wanted}")

    def region(self, name: str) -> Locator:
        """A part of the page."""
        return self.page.get_by_role("region", name=name, exact=True)

    @property
    def history(self) -> Locator:
        """What opens an entry, newest first."""
        return self.region("History").locator(".history-open")

    def transfer(self, data: bytes, name: str, kind: str = "image/png") -> JSHandle:
        """A file as a drop or a paste carries it."""
        return self.page.evaluate_handle(
            """([data, name, type]) => {
                const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name, { type }));
                return transfer;
            }""",
            [base64.b64encode(data).decode(), name, kind],
        )

    @property
    def result(self) -> Locator:
        return self.region("Result")

    def expect_result(self, count: int = 1) -> Locator:
        """The pictures, once they are loaded."""
        name = re.compile("^Result$" if count == 1 else r"^Result \d$")
        pictures = self.result.get_by_role("img", name=name)
        expect(pictures).to_have_count(count)
        for picture in pictures.all():
            expect(picture).to_have_js_property("complete", True)
            assert picture.evaluate("picture => picture.naturalWidth") > 0
        return pictures

    def download(self, folder: Path) -> Path:
        """The first picture of the result, as a user saves it."""
        with self.page.expect_download() as download:
            self.page.get_by_role("link", name="Download").first.click()
        file = folder / download.value.suggested_filename
        download.value.save_as(file)
        return file


def parameters_of(file: Path) -> dict[str, Any]:
    """What a produced picture says that it was made from."""
    return dict(read_statement(file).content["parameters"])
