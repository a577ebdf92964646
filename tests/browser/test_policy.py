"""What the page costs and may do: its own files, no other host, no call while it is idle."""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.playground import Playground
from tests.support.chromium import Watch
from tests.support.servers import Server, free_port, running_api


def test_the_policy_allows_no_inline_script_and_no_other_host(server: Server) -> None:
    policy = httpx.get(f"{server.url}/").headers["content-security-policy"]
    directives = {name: sources for name, *sources in map(str.split, policy.split(";"))}
    assert directives["default-src"] == ["'none'"]
    assert directives["script-src"] == ["'self'"]
    assert "unsafe" not in policy
    assert not re.search(r"https?:|\*", policy)


def test_the_first_paint_needs_no_call(page: Page, context: BrowserContext) -> None:
    """Its files arrive, and no call of the api is answered."""
    context.route(re.compile(r"/(openapi\.json|playground/form\.json|v1/|v2/)"), lambda _: None)
    page.goto("/")
    expect(page.get_by_role("button", name="Generate")).to_be_visible()
    painted = page.evaluate(
        "performance.getEntriesByName('first-contentful-paint').length > 0 ||"
        "new Promise(resolve => new PerformanceObserver(resolve).observe("
        "{type: 'paint', buffered: true}))"
    )
    assert painted


def test_the_page_works_below_the_path_of_the_public_url(chromium: Browser, server: Server) -> None:
    """Pages, calls, pictures and storage."""
    port = free_port()
    public = f"http://127.0.0.1:{port}/flux/"
    with (
        running_api(server.redis_url, port=port, PUBLIC_URL=public),
        chromium.new_context(base_url=public) as context,
    ):
        watch = Watch(context, public.removesuffix("/flux/"))
        playground = Playground(context.new_page())
        playground.open(server.key, "")
        playground.ask()
        playground.generate()
        playground.expect_result()
        assert {each.split()[1].startswith("/flux/") for each in watch.requests} == {True}
        assert watch.faults == []


def test_an_idle_page_asks_the_server_once_a_minute_at_most(
    page: Page, server: Server, watch: Watch
) -> None:
    page.clock.install()
    playground = Playground(page)
    playground.open(server.key)
    expect(playground.button("Generate")).to_be_visible()
    playground.ask()
    playground.generate()
    playground.expect_result()
    page.wait_for_load_state("networkidle")
    before = len(watch.requests)
    page.clock.run_for("10:00")
    assert len(watch.requests) - before <= 10
