"""LoRAs: picked by name, weighed, their words in the prompt, restored; a refused or unknown one."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.playground import Playground, parameters_of
from tests.browser.test_accessibility import PHONE, serious_findings
from tests.browser.test_input_picture import drop
from tests.support.chromium import Watch

LISTING = "**/inference-model-information/list"
NAME = "cyanotype"
"""Of the LoRA that comes with the demo, the first that is usable; and its trigger word."""

RENAME = """([name, other]) => {
    const [draft] = Object.keys(localStorage).filter((key) => key.endsWith(":values"));
    localStorage.setItem(draft, localStorage.getItem(draft).replace(name, other));
}"""
"""Renames a LoRA in what the page stores of its form."""


def add_a_long_word(route: Route) -> None:
    """Each LoRA of the list has another trigger word, without a place to break."""
    response = route.fetch()
    loras = response.json()["loras"]
    for lora in loras:
        lora["trigger_words"].append("x" * 300)
    route.fulfill(response=response, json={"loras": loras})


def expect_accessible_on_a_phone(page: Page) -> None:
    page.set_viewport_size(PHONE)
    assert serious_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def chosen(playground: Playground, name: str = NAME) -> Locator:
    return playground.page.get_by_role("group", name=f"LoRA {name}", exact=True)


def test_a_lora_is_picked_weighed_and_restored_with_the_keyboard(
    playground: Playground, tmp_path: Path
) -> None:
    page, keyboard = playground.page, playground.page.keyboard
    page.route(LISTING, add_a_long_word)
    page.reload()
    playground.ask()
    pick = playground.field("LoRA")
    expect(pick.get_by_role("option", name=re.compile("^dora: .*DoRA"))).to_be_disabled()
    expect(pick).to_have_value(NAME)
    playground.tab_to(playground.button("Add a LoRA"))
    keyboard.press("Enter")
    scale = playground.field(f"Scale of {NAME}")
    slider = playground.field(f"Scale of {NAME}, slider")
    expect(slider).to_be_focused()
    expect(scale).to_have_value("1")
    keyboard.press("ArrowRight")
    expect(scale).to_have_value("1.05")
    expect(pick.get_by_role("option", name=NAME)).to_be_disabled()
    playground.tab_to(playground.button(f"Add {NAME} to the prompt"))
    for _ in range(2):
        keyboard.press("Enter")
    expect(playground.field("Prompt")).to_have_value(f"{NAME}, an astronaut")
    playground.generate()
    playground.expect_result()
    file = playground.download(tmp_path)
    [made] = parameters_of(file)["loras"]
    assert (made["name"], made["scale"]) == (NAME, 1.05)

    expect_accessible_on_a_phone(page)
    playground.tab_to(playground.button(f"Remove {NAME}"))
    keyboard.press("Enter")
    expect(chosen(playground)).to_be_hidden()
    expect(pick).to_be_focused()
    drop(playground, file.read_bytes(), file.name)
    expect(scale).to_have_value("1.05")
    playground.button(f"Remove {NAME}").click()
    playground.history.first.click()
    expect(scale).to_have_value("1.05")
    page.reload()
    expect(scale).to_have_value("1.05")


def test_a_lora_that_does_not_fit_fails_the_request_with_its_name(playground: Playground) -> None:
    playground.ask()
    playground.field("LoRA").select_option("other-model")
    playground.button("Add a LoRA").click()
    playground.generate()
    expect(playground.result.get_by_role("alert")).to_contain_text("other-model")


def test_a_lora_that_the_server_no_longer_has_is_shown_as_unknown(
    playground: Playground, watch: Watch
) -> None:
    """Until it is removed; then nothing of LoRAs is shown."""
    watch.expect("status of 400")
    page = playground.page
    playground.ask()
    playground.button("Add a LoRA").click()
    name = "x" * 100 + NAME
    page.evaluate(RENAME, [NAME, name])
    page.reload()
    expect(chosen(playground, name)).to_contain_text("Unknown: this server has no LoRA of this")
    playground.generate()
    scale = playground.field(f"Scale of {name}")
    expect(scale).to_have_accessible_description(re.compile(f"nearest names are .*{NAME}"))
    expect(scale).to_have_attribute("aria-invalid", "true")
    expect_accessible_on_a_phone(page)
    page.route(LISTING, lambda route: route.fulfill(json={"loras": []}))
    page.reload()
    expect(chosen(playground, name)).to_contain_text("Unknown")
    playground.button(f"Remove {name}").click()
    expect(page.get_by_role("group", name="LoRAs")).to_be_hidden()
    playground.generate()
    playground.expect_result()
