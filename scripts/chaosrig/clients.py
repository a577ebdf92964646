"""Clients of the server under fault: they order pictures, wait for each to end, and look at it.

What the server refused (503, or no answer at all) is no promise and is ordered again; what it
accepted must end. Knows the wire only.
"""

from __future__ import annotations

import io
import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image

from models.spec import image_seed
from tests.support.pictures import base64_of

THREADS = 8
_POLL_S = 0.2
_SIZES = ((64, 64), (72, 88), (128, 80))


@dataclass(slots=True)
class Order:
    """One request, and what became of it: status is what the server last said, or LOST."""

    body: dict[str, Any]
    seed: int
    samples: int
    size: tuple[int, int]
    hostile: bool = False
    id: str = ""
    status: str = ""
    error: str = ""
    wrong: str = ""
    ended_at: float = 0.0


def orders(count: int, rng: random.Random, hostile_url: str = "") -> list[Order]:
    """Inline pictures, one in four twofold; with hostile_url one in five names that instead."""
    made = []
    for number in range(count):
        size = rng.choice(_SIZES)
        # Seeds of different requests never meet, and each is a colour of 24 bits.
        seed = 1 + 16 * rng.randrange(1000) + 16_000 * number
        samples = 2 if rng.random() < 0.25 else 1
        hostile = bool(hostile_url) and number % 5 == 2
        image = hostile_url if hostile else base64_of(Image.new("RGB", size, "grey"))
        body = {
            "image": image,
            "prompt": "x",
            "cn_type": "canny",
            "steps": 15,
            "seed": seed,
            "samples": samples,
            "image_format": "png",
            "base64": False,
        }
        made.append(Order(body, seed, samples, size, hostile))
    return made


class Clients:
    """THREADS clients that share a list of orders."""

    def __init__(self, url: str, key: str, todo: list[Order], deadline: float) -> None:
        """deadline: time.monotonic() after which nobody waits any longer."""
        self._url, self._key, self._deadline = url, key, deadline
        self._ordered = todo
        self._todo = deque(todo)
        self.refused = 0
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    @property
    def accepted(self) -> set[str]:
        """The requests that the server has promised to carry through."""
        return {order.id for order in self._ordered if order.id}

    def _serve(self) -> None:
        with httpx.Client(base_url=self._url, headers={"x-api-key": self._key}, timeout=30) as http:
            while time.monotonic() < self._deadline:
                try:
                    order = self._todo.popleft()
                except IndexError:
                    return
                self._submit(http, order)
                if order.id:
                    self._wait(http, order)

    def _submit(self, http: httpx.Client, order: Order) -> None:
        while not order.id and time.monotonic() < self._deadline:
            answer = _asked(http, "POST", "/v2/flux-controlnet", order.body)
            if answer is not None and answer.status_code in (200, 202):
                order.id = answer.json()["request_id"]
                return
            if answer is not None and answer.status_code != 503:
                order.wrong = f"refused with {answer.status_code}: {answer.text[:200]}"
                return
            self.refused += 1
            time.sleep(_POLL_S)

    def _wait(self, http: httpx.Client, order: Order) -> None:
        while time.monotonic() < self._deadline:
            answer = _asked(http, "GET", f"/v2/requests/{order.id}", None)
            if answer is not None and answer.status_code == 404:
                order.status = "LOST"
                return
            if answer is not None and answer.status_code in (200, 422):
                said = answer.json()
                order.status = said["status"]
                if order.status in ("COMPLETED", "FAILED"):
                    order.ended_at = time.time()
                    order.error = said.get("error") or ""
                    if order.status == "COMPLETED":
                        order.wrong = self._look(http, order, said["images"])
                    return
            time.sleep(_POLL_S)

    def _look(self, http: httpx.Client, order: Order, images: list[dict[str, Any]]) -> str:
        if len(images) != order.samples:
            return f"{len(images)} pictures instead of {order.samples}"
        for index, image in enumerate(images):
            while (answer := _asked(http, "GET", image["url"], None)) is None or (
                answer.status_code == 503
            ):
                if time.monotonic() > self._deadline:
                    return "its pictures could not be had"
                time.sleep(_POLL_S)
            if answer.status_code != 200:
                return f"its picture is answered with {answer.status_code}"
            fault = _fault(answer.content, order.size, image_seed(order.seed, index))
            if fault:
                return fault
        return ""


def _fault(data: bytes, size: tuple[int, int], seed: int) -> str:
    """What is wrong with a picture; empty when it is the one that was ordered."""
    try:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
    except OSError:
        return "its picture cannot be decoded"
    if picture.size != size:
        return f"its picture has size {picture.size}"
    colour = (seed >> 16 & 255, seed >> 8 & 255, seed & 255)
    if picture.getcolors() != [(size[0] * size[1], colour)]:
        return "its picture is not that of its seed"
    return ""


def _asked(
    http: httpx.Client, method: str, url: str, body: dict[str, Any] | None
) -> httpx.Response | None:
    """The answer; None when there was none."""
    try:
        return http.request(method, url, json=body)
    except httpx.TransportError:
        return None
