"""What a user reads when something is wrong: a sentence, beside its field; what was typed stays."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

from app.core.accounts.api_keys import KeyStore, Terms, mint
from app.core.redis.connection import connect
from tests.browser.playground import Playground
from tests.support.chromium import Watch
from tests.support.pictures import PictureHost
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


def test_a_budget_that_is_used_up_has_its_sentence(
    page: Page, server: Server, watch: Watch
) -> None:
    """The price is shown before, a comparison beyond it is not sent, and a request is refused."""
    watch.expect("status of 402")
    playground = Playground(page)
    with connect(server.redis_url) as redis:
        playground.open(KeyStore(redis).create("guest", Terms(credits=0.5))[0])
    expect(page.get_by_text("0.5 credits", exact=True)).to_be_visible()
    playground.ask()
    expect(page.get_by_text("about 0.2 credits", exact=True)).to_be_visible()

    compare = playground.region("Compare")
    playground.field("Strengths").fill("0.2, 1")
    playground.field("Stops").fill("0.3, 0.9")
    expect(compare).to_contain_text("4 pictures of one seed, about 0.9 credits")
    playground.button("Compare").click()
    expect(compare.get_by_role("alert")).to_contain_text(
        "This comparison needs about 0.9 credits, and the key has 0.5 left. Choose fewer"
    )
    assert "POST /v2/flux-controlnet" not in watch.requests
    playground.field("Strengths").fill("1")
    playground.button("Compare").click()
    expect(compare).to_contain_text("2 of 2 done")
    expect(page.get_by_text("0 credits", exact=True)).to_be_visible()

    playground.generate()
    expect(playground.result.get_by_role("alert")).to_contain_text("Choose fewer steps")
    expect(playground.field("Prompt")).to_have_value("an astronaut")


def test_each_refusal_has_a_sentence_that_says_what_to_do(
    playground: Playground, context: BrowserContext, watch: Watch
) -> None:
    """The page sends a request again where that can help; meanwhile it can be cancelled."""
    watch.expect("Failed to load resource")
    playground.ask()
    answer: dict[str, Any] = {"status": 402, "headers": {"retry-after": "30"}}
    body = json.dumps({"error": "Said by the server"})
    context.route("**/v2/flux-controlnet", lambda route: route.fulfill(body=body, **answer))
    for status, sentence in {
        402: "Said by the server. Choose fewer steps, fewer samples or a smaller size",
        413: "Said by the server. Choose a smaller picture.",
    }.items():
        answer["status"] = status
        playground.generate()
        expect(playground.result.get_by_role("alert")).to_contain_text(sentence)
    for status, sentence in {
        429: "Too many requests with this key. This page tries again in 30 s.",
        503: "The queue is full. This page tries again in 30 s.",
    }.items():
        answer["status"] = status
        playground.generate()
        expect(playground.result.get_by_text(sentence).first).to_be_visible()
        playground.button("Cancel").click()
        expect(playground.button("Generate")).to_be_enabled()
    answer["headers"] = {"retry-after": "1"}
    playground.generate()
    expect(playground.result.get_by_text("The queue is full.").first).to_be_visible()
    context.unroute("**/v2/flux-controlnet")
    playground.expect_result()
    expect(playground.field("Prompt")).to_have_value("an astronaut")


def test_a_failed_request_has_its_sentence_beside_the_field_it_names(
    playground: Playground, host: PictureHost, watch: Watch
) -> None:
    """Without a control map, which would say it before. Warnings stand beside their fields too."""
    watch.expect("net::ERR_FAILED")
    playground.ask()
    playground.field("Sampler").select_option("dpm_fast")
    playground.button("URL").click()
    playground.field("Picture URL").fill(f"{host.origin}/missing.png")
    playground.page.route("**/preprocess", lambda route: route.abort())
    playground.button("Use").click()
    playground.generate()
    expect(playground.region("Picture").get_by_role("alert")).to_contain_text("404")
    expect(playground.field("Picture URL")).to_have_value(f"{host.origin}/missing.png")
    scheduler = playground.field("Scheduler")
    expect(scheduler).to_have_accessible_description(re.compile("Warning: dpm_fast leaves"))


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
