"""Keys, budgets and limits on a whole server, driven by the real client and by raw HTTP.

Numbers in the names are those of the acceptance scenarios.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx
import pytest
from redis import Redis
from segmind import SegmindClient
from segmind.exceptions import SegmindError

from app.core.accounts.api_keys import KeyStore, Terms, digest
from app.core.errors import GenerationFailed
from app.core.queueing.jobs import GPU, Jobs
from app.core.redis import keys
from app.core.redis.connection import connect as connect_redis
from app.core.requests.store import RequestStore
from tests.contract.conftest import Connect
from tests.support.bodies import small
from tests.support.pictures import PictureHost, astronaut, encoded
from tests.support.servers import Server, paused
from tests.support.waiting import until
from tests.support.wire import V1, V2, Wire, finished, wait_for_end

MODEL = "flux-controlnet"
COST = 128 * 128 / 2**20 * 15
"""Of small(), at a credit for a unit of work."""

MakeKey = Callable[..., str]


@pytest.fixture
def redis(server: Server) -> Iterator[Redis]:
    client = connect_redis(server.redis_url)
    yield client
    client.close()


@pytest.fixture
def new_key(redis: Redis) -> Iterator[MakeKey]:
    """(name, **terms) -> the secret of a key that is revoked after the test."""
    store, made = KeyStore(redis), []

    def make(name: str = "team-b", **terms: Any) -> str:
        secret, key = store.create(name, Terms(**terms))
        made.append(key.id)
        return secret

    yield make
    for key_id in made:
        store.revoke(key_id)


@pytest.fixture
def caller(server: Server, wire: Wire) -> Iterator[Callable[[str], httpx.Client]]:
    """A plain HTTP client for a key."""
    made: list[httpx.Client] = []

    def make(secret: str) -> httpx.Client:
        limits = httpx.Limits(max_connections=60)
        headers = {"x-api-key": secret}
        plain = httpx.Client(base_url=server.url, headers=headers, timeout=120, limits=limits)
        wire.watch(plain)
        made.append(plain)
        return plain

    yield make
    for plain in made:
        plain.close()


Caller = Callable[[str], httpx.Client]


def balance(http: httpx.Client) -> float:
    answer = http.get("/v1/get-user-credits")
    assert answer.status_code == 200
    return float(answer.json()["credits"])


def test_25_credits(
    client: SegmindClient, connect: Connect, server: Server, new_key: MakeKey
) -> None:
    """`get-user-credits`: `credits` and `free-credits`, with a budget and without one."""
    unlimited = client._request("GET", "/get-user-credits").json()
    assert unlimited["credits"] > 1e6
    limited = connect(f"{server.url}/v1", new_key(credits=0.25))
    assert limited._request("GET", "/get-user-credits").json() == {
        "credits": 0.25,
        "free-credits": 0.0,
        "unlimited": False,
    }


def test_26_insufficient_credits(connect: Connect, server: Server, new_key: MakeKey) -> None:
    """Balance below cost: 406 on v1, 402 on v2, and a text that begins as the hosted one's."""
    broke = connect(f"{server.url}/v1", new_key(credits=COST / 2))
    for call, status in ((broke.run_sync, 406), (broke.run, 402)):
        with pytest.raises(SegmindError) as refused:
            call(MODEL, **small())
        assert refused.value.status == status
        assert refused.value.detail == (
            f"Insufficient credits. You have {COST / 2} credits, and this request needs {COST}"
        )


def test_the_cost_of_a_picture_is_reported_and_charged(caller: Caller, new_key: MakeKey) -> None:
    http = caller(new_key(credits=10 * COST))
    v1 = http.post(V1, json=small())
    assert float(v1.headers["x-cost"]) == COST
    assert float(v1.headers["x-remaining-credits"]) == 9 * COST
    metrics = finished(http, small(samples=2))["metrics"]
    assert (metrics["cost"], metrics["remaining_credits"]) == (2 * COST, 7 * COST)
    assert metrics["cost"] == metrics["work_units"]
    assert balance(http) == 7 * COST


def test_a_key_without_a_budget_gets_the_cost_in_the_response(http: httpx.Client) -> None:
    headers = http.post(V1, json=small()).headers
    assert (float(headers["x-cost"]), headers["x-remaining-credits"]) == (COST, "999999999.0")
    metrics = finished(http, small())["metrics"]
    assert (metrics["cost"], metrics["remaining_credits"]) == (COST, None)


def test_a_request_that_fails_costs_nothing(caller: Caller, new_key: MakeKey) -> None:
    http = caller(new_key(credits=100))
    submitted = http.post(V2, json=small(image="aGVsbG8=")).json()
    assert wait_for_end(http, submitted["status_url"]).status_code == 422
    assert balance(http) == 100


def test_a_picture_from_elsewhere_is_settled_when_its_size_is_known(
    caller: Caller, new_key: MakeKey, host: PictureHost
) -> None:
    """Reserved as 1024x1024. What is larger than the budget then fails, as on submission."""
    http = caller(new_key(credits=15))
    url = host.serve("/settled.png", encoded(astronaut((128, 128))))
    metrics = finished(http, small(image=url))["metrics"]
    assert (metrics["cost"], metrics["remaining_credits"]) == (COST, 15 - COST)
    large = host.serve("/large.png", encoded(astronaut((2048, 1024))))
    http = caller(new_key(credits=15))
    refused = http.post(V1, json=small(image=large))
    sentence = "Insufficient credits. You have 15.0 credits, and this request needs 30.0"
    assert (refused.status_code, refused.json()) == (406, {"error": sentence})
    failed = wait_for_end(http, http.post(V2, json=small(image=large)).json()["status_url"])
    assert (failed.status_code, failed.json()["error"]) == (422, sentence)
    assert balance(http) == 15


def test_fifty_threads_on_a_budget_for_twenty(
    server: Server, caller: Caller, new_key: MakeKey
) -> None:
    """Most send a picture that cannot be read; what those that were accepted cost comes back. No
    picture is read before the last answer: the credits of a failed one would buy a twenty-first."""
    http = caller(new_key(credits=20 * COST))
    size = {"use_input_img_dimension": False, "custom_width": 128, "custom_height": 128}
    bodies = [small(**size), small(**size, image="aGVsbG8=")]
    with paused(server, "worker cpu"), ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda i: http.post(V2, json=bodies[i % 8 > 0]), range(50)))
    accepted = [answer for answer in answers if answer.status_code == 200]
    refused = {answer.status_code for answer in answers} - {200}
    assert len(accepted) == 20
    assert refused == {402}
    ends = [wait_for_end(http, answer.json()["status_url"]).status_code for answer in accepted]
    assert balance(http) == ends.count(422) * COST
    assert ends.count(200) + ends.count(422) == 20


def test_requests_a_minute_are_refused_and_polls_are_not(caller: Caller, new_key: MakeKey) -> None:
    http = caller(new_key(rpm=2))
    answer = http.post(V1, json=small())
    assert answer.headers["x-rate-limit-remaining"] == "1"
    assert answer.headers["x-rate-limit-reset-at-utc"].endswith(".000Z")
    url = http.post(V2, json=small()).json()["status_url"]
    refused = http.post(V2, json=small())
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert {http.get(url).status_code for _ in range(100)} == {200}
    wait_for_end(http, url)


def test_requests_beyond_the_bound_wait_their_turn(
    caller: Caller, new_key: MakeKey, redis: Redis
) -> None:
    http = caller(new_key(concurrency=1))
    made = [http.post(V2, json=small()).json() for _ in range(4)]
    for submitted in made:
        assert wait_for_end(http, submitted["status_url"]).status_code == 200
    store = RequestStore(redis, 60)
    records = [store.get(submitted["request_id"]) for submitted in made]
    spans = [(one.started_at or 0.0, one.ended_at or 0.0) for one in records if one is not None]
    assert spans == sorted(spans)
    assert all(start >= end for (_, end), (start, _) in pairwise(spans))


def test_another_keys_first_request_is_next(
    caller: Caller, new_key: MakeKey, redis: Redis, server: Server
) -> None:
    """At the latest second of all waiting requests, of all keys."""
    many, one = caller(new_key("team-b")), caller(new_key("team-c"))
    jobs, store = Jobs(redis, 60), RequestStore(redis, 60)
    with paused(server, "worker gpu"):
        theirs = [many.post(V2, json=small()).json()["request_id"] for _ in range(8)]
        url = one.post(V2, json=small()).json()["status_url"]
        until(lambda: jobs.waiting(GPU) >= 8, "all others to wait: the worker has one")
    wait_for_end(one, url)
    mine = store.get(url.split("/")[-2])
    others = [record for record in map(store.get, theirs) if record is not None]
    assert mine is not None
    assert mine.started_at is not None
    assert len(others) == 8
    started = [record.started_at for record in others if record.started_at is not None]
    assert sum(moment < mine.started_at for moment in started) <= 1
    for record in others:
        store.fail(record.id, GenerationFailed("cancelled"))


def test_a_key_ends_when_it_expires(caller: Caller, new_key: MakeKey, redis: Redis) -> None:
    """The request stays: another key of the same owner sees it."""
    secret = new_key(expires_at=time.time() + 3600)
    http, other = caller(secret), caller(new_key())
    url = http.post(V2, json=small()).json()["status_url"]
    assert http.get(url).status_code == 200
    key = {**json.loads(redis.hget(keys.API_KEYS, digest(secret)) or ""), "expires_at": time.time()}
    redis.hset(keys.API_KEYS, digest(secret), json.dumps(key))
    refused = http.get(url)
    assert refused.status_code == 401
    assert "may have expired" in refused.json()["error"]
    assert wait_for_end(other, url).status_code == 200


def test_a_bearer_token_is_as_good(server: Server, new_key: MakeKey) -> None:
    headers = {"authorization": f"Bearer {new_key(credits=1.5)}"}
    answer = httpx.get(f"{server.url}/v1/get-user-credits", headers=headers)
    assert answer.json()["credits"] == 1.5


def test_an_admin_makes_a_key_that_works_until_it_is_revoked(
    caller: Caller, new_key: MakeKey
) -> None:
    admin = caller(new_key("root", admin=True))
    made = admin.post("/admin/keys", json={"name": "team-c", "credits": COST}).json()
    http = caller(made["key"])
    assert http.post(V1, json=small()).status_code == 200
    assert http.post(V1, json=small()).status_code == 406
    assert admin.post(f"/admin/keys/{made['id']}/credits", json={"credits": COST}).json() == {
        "id": made["id"],
        "credits": COST,
    }
    assert http.post(V1, json=small()).status_code == 200
    [listed] = [one for one in admin.get("/admin/keys").json()["keys"] if one["id"] == made["id"]]
    assert (listed["credits"], listed["spent"]) == (0.0, 2 * COST)
    assert http.get("/admin/keys").status_code == 403
    assert admin.delete(f"/admin/keys/{made['id']}").status_code == 200
    assert http.post(V1, json=small()).status_code == 401
