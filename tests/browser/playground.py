"""The playground as a user sees it: what can be read, typed and pressed, by roles and labels."""

from __future__ import annotations

from playwright.sync_api import Page


class Playground:
    """The page at `/`."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, key: str) -> None:
        """As the address that `scripts/up` prints."""
        self.page.goto(f"/#key={key}")
