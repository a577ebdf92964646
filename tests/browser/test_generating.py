"""From a picture and a prompt to a result, with each control type and with the keyboard alone."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from models.control_types import served_types
from models.spec import SEED_MAX
from tests.browser.playground import SAMPLES, Playground, parameters_of
from tests.support.pictures import opened

LINES = 'an astronaut\nin a "studio"'


def test_each_control_type_shows_its_map_and_makes_a_picture(
    playground: Playground, tmp_path: Path
) -> None:
    """One page for all of them: it takes longer to open than a picture to make."""
    shown, before = playground.result.get_by_role("img", name=re.compile("^Result$")), ""
    for cn_type in served_types("demo"):
        playground.ask(control=cn_type)  # a new picture, which takes the last map away
        if cn_type != "tile":  # its map is the picture itself
            expect(playground.page.get_by_role("img", name="Control map")).to_be_visible()
        playground.generate()
        expect(shown).not_to_have_attribute("src", before)
        [picture] = playground.expect_result().all()
        before = picture.get_attribute("src") or ""
        file = playground.download(tmp_path)
        assert opened(file.read_bytes()).size == (128, 128)
        made = parameters_of(file)
        assert (made["cn_type"], made["steps"], made["prompt"]) == (cn_type, 15, "an astronaut")


def test_a_sample_works_as_it_is(playground: Playground) -> None:
    samples = playground.page.get_by_role("group", name="Sample pictures").get_by_role("button")
    expect(samples).to_have_count(6)
    samples.last.click()
    expect(playground.field("Prompt")).to_have_value(SAMPLES[-1]["values"]["prompt"])
    playground.generate()
    playground.expect_result()


def test_warnings_stand_below_the_result_and_beside_their_fields(playground: Playground) -> None:
    """Until the field changes."""
    playground.ask()
    playground.field("Prompt").fill("an astronaut " * 60)
    playground.field("Sampler").select_option("dpm_fast")
    playground.field("Scheduler").select_option("simple")
    playground.generate()
    playground.expect_result()
    expect(playground.result.get_by_text("prompt: CLIP read 77 of")).to_be_visible()
    expect(playground.result.get_by_text("scheduler: dpm_fast leaves visible")).to_be_visible()
    prompt, scheduler = playground.field("Prompt"), playground.field("Scheduler")
    expect(prompt).to_have_accessible_description(re.compile("Warning: CLIP read 77 of .* T5 read"))
    expect(scheduler).to_have_accessible_description(re.compile("Warning: dpm_fast leaves"))
    expect(prompt).not_to_have_attribute("aria-invalid", "true")
    prompt.fill("an astronaut")
    expect(prompt).not_to_have_accessible_description(re.compile("Warning"))
    expect(scheduler).to_have_accessible_description(re.compile("Warning"))


def test_four_samples_keep_each_digit_of_the_seed_and_each_line_of_the_prompt(
    playground: Playground, tmp_path: Path
) -> None:
    """A seed has up to 19 digits, more than a number of JavaScript holds; a form sends CR LF."""
    playground.ask()
    playground.field("Prompt").fill(LINES)
    playground.field("Seed").fill(str(SEED_MAX))
    playground.choose("Samples", "4")
    playground.generate()
    playground.expect_result(4)
    playground.button(f"Open result 1, seed {SEED_MAX}").click()
    made = parameters_of(playground.download(tmp_path))
    assert (made["seed"], made["prompt"]) == (SEED_MAX, LINES)


def test_the_keyboard_alone_is_enough(playground: Playground) -> None:
    keyboard, tab_to = playground.page.keyboard, playground.tab_to
    tab_to(playground.button(SAMPLES[1]["title"]))
    keyboard.press("Enter")
    expect(playground.field("Prompt")).to_have_value(SAMPLES[1]["values"]["prompt"])
    tab_to(playground.field("Size of the input"))
    keyboard.press("Space")
    for side in ("Width", "Height"):
        tab_to(playground.field(side))
        keyboard.type("128")
    tab_to(playground.button("Generate"))
    keyboard.press("Enter")
    playground.expect_result()

    for side in ("Strengths", "Stops"):
        tab_to(playground.field(side))
        keyboard.type("1")
    keyboard.press("Enter")
    cell = playground.button("strength 1, stop 1")
    expect(cell).to_be_visible()
    tab_to(cell)
    keyboard.press("Enter")
    zoom = playground.page.get_by_role("dialog", name="Picture in full size")
    expect(zoom).to_be_visible()
    keyboard.press("Escape")
    expect(zoom).to_be_hidden()
    expect(cell).to_be_focused()

    expect(playground.history).to_have_count(2)
    tab_to(playground.history.first)
    keyboard.press("ArrowDown")
    expect(playground.history.last).to_be_focused()
    keyboard.press("Enter")
    playground.expect_result()
    keyboard.press("Delete")
    expect(playground.history).to_have_count(1)
    expect(playground.history).to_be_focused()
