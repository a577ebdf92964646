"""What a user reads when something is wrong: a sentence, beside its field; what was typed stays."""

from __future__ import annotations

import re

from playwright.sync_api import BrowserContext, Page, expect

from app.core.accounts.api_keys import KeyStore, mint
from app.core.redis.connection import connect
from tests.browser.playground import Playground
from tests.support.chromium import Watch
from tests.support.servers import Server


def test_a_wrong_key_is_asked_for_again(page: Page, server: Server, watch: Watch) -> None:
    watch.expect("status of 401")
    playground = Playground(page)
    playground.open(mint())
    enter_key(playground, server.key)
    playground.ask()
    playground.generate()
    playground.expect_result()


def test_a_key_that_is_revoked_meanwhile_loses_nothing(
    page: Page, server: Server, watch: Watch
) -> None:
    watch.expect("status of 401")
    playground = Playground(page)
    with connect(server.redis_url) as redis:
        keys, secret = KeyStore(redis), mint()
        key = keys.add(secret, "guest")
        playground.open(secret)
        playground.ask()
        keys.revoke(key.id)
    playground.generate()
    enter_key(playground, server.key)
    expect(playground.field("Prompt")).to_have_value("an astronaut")
    playground.generate()
    playground.expect_result()


def enter_key(playground: Playground, key: str) -> None:
    """In the dialog, which says what is wrong with the key so far."""
    dialog = playground.page.get_by_role("dialog", name="API key")
    expect(dialog.get_by_role("alert")).to_contain_text("does not accept this API key")
    dialog.get_by_label("API key", exact=True).fill(key)
    dialog.get_by_role("button", name="Save key").click()
    expect(dialog).to_be_hidden()


def test_the_key_is_kept_and_leaves_the_address(playground: Playground) -> None:
    page = playground.page
    expect(page).to_have_url("/")
    page.reload()
    playground.ask()
    playground.generate()
    playground.expect_result()


def test_a_bad_picture_has_its_sentence_beside_the_picture(
    playground: Playground, watch: Watch
) -> None:
    watch.expect("status of 4")
    playground.ask()
    playground.choose_picture(b"no picture at all", "notes.png")
    playground.generate()
    picture = playground.page.get_by_role("region", name="Picture")
    expect(picture.get_by_role("alert")).not_to_be_empty()
    expect(playground.field("Prompt")).to_have_value("an astronaut")


def test_a_number_out_of_range_has_its_sentence_beside_the_field(
    playground: Playground, watch: Watch
) -> None:
    watch.expect("status of 4")
    playground.ask(steps=7)
    playground.generate()
    steps = playground.field("Steps")
    expect(steps).to_have_attribute("aria-invalid", "true")
    expect(steps).to_have_accessible_description(re.compile("allowed is"))
    expect(steps).to_have_value("7")


def test_a_server_that_is_away_loses_nothing(
    playground: Playground, context: BrowserContext, watch: Watch
) -> None:
    watch.expect("net::ERR_INTERNET_DISCONNECTED")
    playground.ask()
    context.set_offline(True)
    playground.generate()
    expect(playground.result).to_contain_text("The server is away. Nothing that you typed is lost")
    context.set_offline(False)
    playground.expect_result()
