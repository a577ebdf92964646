"""Clients of the server under fault: they submit requests, wait for their end and check pictures.

A call that the server refused (503, or no response) is repeated. A request that it accepted must
end. Knows only the HTTP API.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import httpx

from models.spec import image_seed
from tools.chaos.orders import Order, fault_of

THREADS = 8
_POLL_S = 0.2


class Clients:
    """Clients, one per thread, submit orders one after another until finish() is called and they
    have submitted `least`. refused: calls that got a 503 or no response."""

    def __init__(
        self, url: str, key: str, orders: list[Order], least: int, threads: int = THREADS
    ) -> None:
        self._url, self._key, self._least = url, key, least
        self._orders = deque(orders)
        self._enough = threading.Event()
        self._deadline = math.inf
        self.taken: list[Order] = []
        self.refused = 0
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self, patience_s: float) -> None:
        """Return when every accepted request has ended, or at the time limit."""
        self._deadline = time.monotonic() + patience_s
        self._enough.set()
        for thread in self._threads:
            thread.join()

    @property
    def satisfied(self) -> bool:
        """Whether they have submitted `least` orders."""
        return len(self.taken) >= self._least

    @property
    def accepted(self) -> set[str]:
        """The requests that the server has accepted."""
        return {order.id for order in list(self.taken) if order.id}

    def serve(self, orders: Iterable[Order]) -> None:
        """Submit each of these and wait for its end."""
        with httpx.Client(base_url=self._url, headers={"x-api-key": self._key}, timeout=30) as http:
            for order in orders:
                self._submit(http, order)
                if order.id:
                    self._wait(http, order)

    def _serve(self) -> None:
        self.serve(self._until_enough())

    def _until_enough(self) -> Iterator[Order]:
        while len(self.taken) < self._least or not self._enough.is_set():
            order = self._orders.popleft()
            self.taken.append(order)
            yield order

    def _submit(self, http: httpx.Client, order: Order) -> None:
        while not order.id and time.monotonic() < self._deadline:
            answer = self._asked(http, "POST", "/v2/flux-controlnet", order.body)
            if answer is not None and answer.status_code in (200, 202):
                order.id = answer.json()["request_id"]
                return
            if answer is not None:
                order.wrong = f"refused with {answer.status_code}: {answer.text[:200]}"
                return
            time.sleep(_POLL_S)

    def _wait(self, http: httpx.Client, order: Order) -> None:
        while time.monotonic() < self._deadline:
            answer = self._asked(http, "GET", f"/v2/requests/{order.id}", None)
            if answer is not None and answer.status_code == 404:
                order.status = "LOST"
                return
            if answer is not None and answer.status_code in (200, 422):
                status_body = answer.json()
                order.status = status_body["status"]
                if order.status in ("COMPLETED", "FAILED"):
                    order.error = status_body.get("error") or ""
                    if order.status == "COMPLETED":
                        order.wrong = self._look(http, order, status_body["images"])
                    return
            time.sleep(_POLL_S)

    def _asked(
        self, http: httpx.Client, method: str, url: str, body: dict[str, Any] | None
    ) -> httpx.Response | None:
        """The response; None for no response or a 503."""
        try:
            answer = http.request(method, url, json=body)
        except httpx.TransportError:
            answer = None
        if answer is None or answer.status_code == 503:
            self.refused += 1
            return None
        return answer

    def _look(self, http: httpx.Client, order: Order, images: list[dict[str, Any]]) -> str:
        if len(images) != order.samples:
            return f"{len(images)} pictures instead of {order.samples}"
        for index, image in enumerate(images):
            while (answer := self._asked(http, "GET", image["url"], None)) is None:
                if time.monotonic() > self._deadline:
                    return "its pictures could not be had"
                time.sleep(_POLL_S)
            if answer.status_code != 200:
                return f"its picture is answered with {answer.status_code}"
            fault = fault_of(answer.content, order.size, image_seed(order.seed, index))
            if fault:
                return fault
        return ""
