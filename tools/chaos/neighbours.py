"""Measures how one key's requests delay another key's v1 requests.

The v1 requests are timed on an idle server, then while the other key names a silent host, or sends
pictures that take long to decode.
"""

from __future__ import annotations

import statistics
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence

import httpx
from PIL import Image

from app.core.accounts.api_keys import KeyStore, mint
from app.core.queueing.jobs import CPU, FETCH
from models.spec import image_seed
from tests.support.pictures import base64_of
from tests.support.slow_jpeg import slow_jpeg
from tools.chaos.clients import Clients
from tools.chaos.host import STUCK
from tools.chaos.orders import Order, fault_of, inline_pictures, ordered
from tools.chaos.trial import Trial

ROUNDS = 10
_LARGE = (8000, 8000)


def beside_slow_host(trial: Trial) -> None:
    """Six pictures on a host that accepts connections and never responds."""
    attack = [ordered(trial.host.origin + STUCK, number, hostile=True) for number in range(6)]
    _compare(trial, attack, FETCH)


def beside_bombs(trial: Trial) -> None:
    """Four JPEGs that keep a decoder busy until its time limit, and four valid pictures of 64
    megapixels."""
    large = base64_of(Image.linear_gradient("L").resize(_LARGE))
    bomb = "data:image/jpeg;base64," + b64encode(slow_jpeg()).decode()
    attack = [ordered(bomb, number, hostile=True) for number in range(4)]
    attack += [ordered(large, number) for number in range(4, 8)]
    _compare(trial, attack, CPU)


def _compare(trial: Trial, attack: Sequence[Order], queue: str) -> None:
    quiet = _timed(trial, first_seed=100, more=lambda done: done < ROUNDS)
    bound_s = 2 * statistics.median(quiet) + 2
    attackers = _start(trial, attack)
    trial.until_begun(queue)
    beside = _timed(
        trial,
        first_seed=200,
        more=lambda done: done < ROUNDS or any(thread.is_alive() for thread in attackers),
    )
    trial.remark = f"{statistics.median(quiet):.1f} quiet, {max(beside):.1f} at most beside"
    if max(beside) > bound_s:
        trial.faults.append(f"another key's request took {max(beside):.1f} s, not {bound_s:.1f}")


def _start(trial: Trial, attack: Sequence[Order]) -> list[threading.Thread]:
    """The orders of the attacking key, all at the same time."""
    client = Clients(trial.stack.url, _new_key(trial, "attacker"), [], least=0)
    threads = [threading.Thread(target=client.serve, args=([order],)) for order in attack]
    for thread in threads:
        thread.start()
    trial.clients.taken += attack
    return threads


def _timed(trial: Trial, first_seed: int, more: Callable[[int], bool]) -> list[float]:
    """Seconds of the neighbour's v1 requests, one after another, while `more` of how many there
    have been; every other one names its picture by a URL."""
    taken: list[float] = []
    inline = inline_pictures()
    headers = {"x-api-key": _new_key(trial, "neighbour")}
    with httpx.Client(base_url=trial.stack.url, headers=headers, timeout=120) as http:
        while more(len(taken)):
            image = (inline if len(taken) % 2 else trial.host.pictures)[64, 64]
            order = ordered(image, first_seed + len(taken))
            trial.clients.taken.append(order)
            began = time.monotonic()
            answer = http.post("/v1/flux-controlnet", json=order.body)
            taken.append(time.monotonic() - began)
            order.id = answer.headers.get("x-request-id", "")
            order.status = "COMPLETED" if answer.status_code == 200 else "FAILED"
            order.wrong = fault_of(answer.content, order.size, image_seed(order.seed, 0))
    return taken


def _new_key(trial: Trial, owner: str) -> str:
    secret = mint()
    KeyStore(trial.redis).add(secret, owner)
    return secret
