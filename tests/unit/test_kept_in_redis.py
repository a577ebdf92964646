"""The keys that requests leave in Redis: all expire, and their number does not grow with requests.

Runs whole requests, with every kind of end.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import rq.executions
import rq.registry
from PIL import Image
from redis import Redis
from rq.utils import current_timestamp

from app.core.errors import GenerationFailed
from app.core.queueing.jobs import CPU, FINISH, GPU
from app.core.redis import keys
from app.core.requests.record import Status
from app.core.storage.redis import RedisBlobs
from tests.support.installation import Caller, Installation, installation
from tests.support.pictures import picture_host
from tests.support.receivers import Receiver, receiver
from tests.support.redis_keys import DAY_S, HOUR_S, Installed, let_pass, mentions, sizes, wrong_keys

OWNER = "team-a"


def a_picture(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(buffer, "PNG")
    return buffer.getvalue()


def inline(data: bytes) -> str:
    return base64.b64encode(data).decode()


BODY = {"image": inline(a_picture()), "prompt": "x", "cn_type": "depth", "steps": 15, "seed": 1}
ELSEWHERE = "http://127.0.0.1:9/a.png"
"""A picture on a server that is not there; nothing listens on the discard port."""


@pytest.fixture(scope="module")
def listening() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture(scope="module")
def installed(redis_server: str) -> Iterator[Installation]:
    with installation(redis_server, FETCH_ALLOW_HOSTS="127.0.0.1") as running:
        yield running


@pytest.fixture
def there(redis: Redis, installed: Installation) -> Installation:
    """An installation of which Redis knows nothing but its secrets."""
    assert redis.dbsize() == 0
    installed.restart()
    return installed


@pytest.fixture
def caller(there: Installation) -> Caller:
    return there.caller(OWNER, credits=1000.0, rpm=1000, concurrency=3)


def check(there: Installation, **allowed: int) -> None:
    """The current keys. By default every request has ended and every listener has been notified."""
    stored = {name.split(b":")[1] for name in there.redis.keys("blob:*:output:*")}
    installed = Installed(**{"keys": 1, "owners": 1, "stored": len(stored), **allowed})
    assert wrong_keys(there.redis, installed) == []


def blobs(there: Installation, request_id: str) -> set[str]:
    prefix = f"blob:{request_id}:"
    return {key.decode().removeprefix(prefix) for key in there.redis.keys(f"{prefix}*")}


def cancel(there: Installation, caller: Caller, request_id: str) -> None:
    assert there.call(caller, "DELETE", f"/v2/requests/{request_id}").status_code == 200


Life = Callable[[Installation, Caller], str]
"""Takes a request to its end, and says which it was."""


def completed(there: Installation, caller: Caller) -> str:
    """Looks at Redis after each step."""
    request_id = there.submit(caller, {**BODY, "samples": 2}, idempotency_key="completed")
    check(there, unfinished=1)
    there.during[request_id] = lambda: check(there, unfinished=1, workers=1)
    for queue in (CPU, GPU, FINISH):
        there.work(queue)
        check(there, unfinished=1, untold=1)
    return request_id


def completed_without_a_detector(there: Installation, caller: Caller) -> str:
    request_id = there.submit(caller, {**BODY, "cn_type": "canny", "image_format": "jpeg"})
    there.work()
    return request_id


def completed_map_alone(there: Installation, caller: Caller) -> str:
    """Over v1, which waits for the end."""
    body = {"image": BODY["image"], "cn_type": "depth"}
    waiting = there.begin(caller, "POST", "/v1/flux-controlnet/preprocess", json=body)
    while not (found := there.services.requests.unfinished()):
        assert not waiting.done()
    there.work()
    assert waiting.result(60).status_code == 200
    return next(iter(found))


def completed_from_an_upload(there: Installation, caller: Caller) -> str:
    data = {"data_urls": [f"data:image/png;base64,{inline(a_picture('blue'))}"]}
    uploaded = there.call(caller, "POST", "/upload-asset", json=data).json()
    check(there)
    request_id = there.submit(caller, {**BODY, "image": uploaded["file_urls"][0]})
    there.work()
    return request_id


def completed_after_a_death(there: Installation, caller: Caller) -> str:
    """The first gpu worker is killed, for all that anybody sees."""
    request_id = there.submit(caller, BODY)
    there.work(CPU)
    with there.worker(GPU) as killed:
        found = killed.dequeue_job_and_maintain_ttl(None)
        assert found is not None
        killed.prepare_execution(found[0])
        killed.prepare_job_execution(found[0], remove_from_intermediate_queue=True)
    check(there, unfinished=1, workers=1)
    leases = found[1].started_job_registry.key
    there.redis.zadd(leases, dict.fromkeys(there.redis.zrange(leases, 0, -1), 1))
    there.work()
    return request_id


def failed_picture(there: Installation, caller: Caller) -> str:
    request_id = there.submit(caller, {**BODY, "image": inline(b"no picture at all")})
    there.work()
    return request_id


def failed_download(there: Installation, caller: Caller) -> str:
    request_id = there.submit(caller, {**BODY, "image": ELSEWHERE})
    check(there, unfinished=1)
    there.work()
    return request_id


def failed_in_the_model(there: Installation, caller: Caller) -> str:
    def fail() -> None:
        raise GenerationFailed("no")

    request_id = there.submit(caller, BODY)
    there.during[request_id] = fail
    there.work()
    return request_id


def failed_while_it_is_encoded(there: Installation, caller: Caller) -> str:
    """The first of its pictures has been stored by then."""
    request_id = there.submit(caller, {**BODY, "samples": 2})
    there.work(CPU, GPU)
    there.redis.delete(f"blob:{request_id}:pixels:1")
    there.work()
    return request_id


def cancelled_while_it_is_encoded(there: Installation, caller: Caller) -> str:
    """After the last of its files has been stored."""

    class Cancelling(RedisBlobs):
        def put(self, name: str, data: bytes, expires_at: float) -> None:
            super().put(name, data, expires_at)
            if name == keys.output_blob(request_id, "map"):
                cancel(there, caller, request_id)

    request_id = there.submit(caller, {**BODY, "samples": 2})
    there.work(CPU, GPU)
    there.context.blobs = Cancelling(there.redis)
    there.work()
    return request_id


def cancelled_while_it_is_downloaded(there: Installation, caller: Caller) -> str:
    with picture_host() as host:

        def respond(handler: BaseHTTPRequestHandler) -> None:
            cancel(there, caller, request_id)
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(a_picture())))
            handler.end_headers()
            handler.wfile.write(a_picture())

        url = host.answer("/a.png", respond)
        request_id = there.submit(caller, {**BODY, "image": url})
        there.work()
    return request_id


def cancelled_while_it_waits(there: Installation, caller: Caller) -> str:
    request_id = there.submit(caller, BODY)
    cancel(there, caller, request_id)
    check(there, untold=1)
    there.work()
    return request_id


def cancelled_before_its_download(there: Installation, caller: Caller) -> str:
    request_id = there.submit(caller, {**BODY, "image": ELSEWHERE})
    cancel(there, caller, request_id)
    there.work()
    return request_id


def cancelled_in_the_model(there: Installation, caller: Caller) -> str:
    request_id = there.submit(caller, BODY)
    there.during[request_id] = lambda: cancel(there, caller, request_id)
    there.work()
    return request_id


def cancelled_before_it_is_encoded(there: Installation, caller: Caller) -> str:
    request_id = there.submit(caller, BODY)
    there.work(CPU, GPU)
    cancel(there, caller, request_id)
    there.work()
    return request_id


def cancelled_beside_the_queue(there: Installation, caller: Caller) -> str:
    """Its key had as many in flight as it may."""
    others = [there.submit(caller, BODY) for _ in range(3)]
    request_id = there.submit(caller, BODY)
    assert there.redis.exists("held")
    check(there, unfinished=4)
    cancel(there, caller, request_id)
    for other in others:
        cancel(there, caller, other)
    there.work()
    return request_id


def expired(there: Installation, caller: Caller) -> str:
    request_id = there.submit(caller, BODY)
    there.work(CPU)
    later = there.record(request_id).expires_at - 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: later)
        there.run_maintenance()
    there.work()
    return request_id


ENDS: dict[Life, Status] = {
    completed: Status.COMPLETED,
    completed_without_a_detector: Status.COMPLETED,
    completed_map_alone: Status.COMPLETED,
    completed_from_an_upload: Status.COMPLETED,
    completed_after_a_death: Status.COMPLETED,
    failed_picture: Status.FAILED,
    failed_download: Status.FAILED,
    failed_in_the_model: Status.FAILED,
    failed_while_it_is_encoded: Status.FAILED,
    cancelled_while_it_waits: Status.FAILED,
    cancelled_before_its_download: Status.FAILED,
    cancelled_in_the_model: Status.FAILED,
    cancelled_before_it_is_encoded: Status.FAILED,
    cancelled_while_it_is_encoded: Status.FAILED,
    cancelled_while_it_is_downloaded: Status.FAILED,
    cancelled_beside_the_queue: Status.FAILED,
    expired: Status.FAILED,
}
LIVES = [pytest.param(life, id=life.__name__) for life in ENDS]


@pytest.mark.parametrize("life", LIVES)
def test_every_key_of_a_request_expires_and_only_its_pictures_are_kept(
    there: Installation, caller: Caller, life: Life
) -> None:
    request_id = life(there, caller)
    assert there.record(request_id).status is ENDS[life]
    there.run_maintenance()
    check(there)
    kept = {f"output:{made.file_name[0]}" for made in there.record(request_id).outputs}
    if there.record(request_id).control_map is not None:
        kept.add("output:map")
    assert blobs(there, request_id) == kept
    assert bool(kept) is (ENDS[life] is Status.COMPLETED)


@pytest.mark.parametrize("fails", [False, True], ids=["it goes on", "it fails"])
def test_a_request_that_expires_while_a_worker_has_it_is_not_brought_back(
    there: Installation, caller: Caller, fails: bool
) -> None:
    """Its record, its events and the job itself are gone when the worker writes next."""

    def expire() -> None:
        there.redis.delete(f"req:{request_id}", f"req:{request_id}:events")
        there.redis.delete(f"rq:job:{request_id}-generate")
        if fails:
            raise GenerationFailed("no")

    request_id = there.submit(caller, BODY)
    there.during[request_id] = expire
    there.work()
    assert there.redis.keys(f"req:{request_id}*") == []
    check(there, unfinished=1)
    there.run_maintenance()
    assert there.services.requests.unfinished() == {}


class Later:
    """Clocks that are ahead, those of this process and of Redis alike."""

    def __init__(self, redis: Redis, patch: pytest.MonkeyPatch) -> None:
        self._redis, self._ahead_s = redis, 0.0
        now = time.time
        patch.setattr(time, "time", lambda: now() + self._ahead_s)
        for module in (rq.registry, rq.executions):
            patch.setattr(
                module, "current_timestamp", lambda: int(current_timestamp() + self._ahead_s)
            )

    def by(self, seconds: float) -> None:
        self._ahead_s += seconds
        let_pass(self._redis, seconds)


@pytest.fixture
def later(there: Installation, monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(there.redis, monkeypatch)


def after(there: Installation, later: Later, seconds: float) -> None:
    """Some time after everything has ended: two periods of housekeeping, workers between them."""
    later.by(seconds)
    there.run_maintenance()
    there.work()
    there.run_maintenance()


def test_expired_requests_leave_no_keys(
    there: Installation, caller: Caller, later: Later, listening: Receiver
) -> None:
    """An hour after the last: their log of webhooks and their history; these go in their time."""
    ids = [life(there, caller) for life in ENDS]
    ids.append(there.submit(caller, {**BODY, "webhook_url": listening.url}))
    ids.append(there.submit(caller, {**BODY, "webhook_url": ELSEWHERE}))
    there.work()
    assert listening.next().body
    check(there, undelivered=1)
    after(there, later, HOUR_S + 1)
    left = mentions(there.redis, ids)
    assert {key.partition(":")[0] for key in left} <= {"history", "webhook", "webhooks"}
    check(there, undelivered=1)
    after(there, later, 8 * DAY_S)
    assert {key.partition(":")[0] for key in mentions(there.redis, ids)} == {"history"}
    after(there, later, 23 * DAY_S)
    assert mentions(there.redis, ids) == {}


def test_permanent_keys_do_not_grow_with_the_number_of_requests(
    there: Installation, caller: Caller, listening: Receiver
) -> None:
    def shared() -> dict[str, int]:
        """Sizes of what many requests share; what is bound to a time is left out."""
        timed = ("history:of:", "outputs:", "rq:finished:", "metrics", "requests:pace", "measured:")
        return {
            key: size
            for key, size in sizes(there.redis, longer_than_s=HOUR_S // 2).items()
            if not any(request_id in key for request_id in ids) and not key.startswith(timed)
        }

    ids: list[str] = []

    def a_round() -> None:
        for cn_type in ("canny", "depth"):
            body = {**BODY, "cn_type": cn_type, "webhook_url": listening.url}
            ids.append(there.submit(caller, body))
        ids.append(there.submit(caller, {**BODY, "image": inline(b"no picture")}))
        ids.append(there.submit(caller, BODY))
        cancel(there, caller, ids[-1])
        there.work()
        there.run_maintenance()

    for _ in range(2):
        a_round()
    before = shared()
    for _ in range(3):
        a_round()
    assert shared() == before


SUBMIT = "/v2/flux-controlnet"


def new_keys(there: Installation, before: set[str]) -> set[str]:
    """Those that are not about the caller's own behaviour in the last minute."""
    return {key for key in sizes(there.redis) if not key.startswith(("rpm:", "keys:used"))} - before


@pytest.mark.parametrize(
    ("spoilt", "status"),
    [
        pytest.param({"prompt": ""}, 400, id="invalid"),
        pytest.param({"samples": 4}, 402, id="too dear"),
        pytest.param({"samples": 4, "image": ELSEWHERE}, 402, id="too dear, by URL"),
        pytest.param({"webhook_url": "http://10.0.0.1/"}, 400, id="a webhook that leads inside"),
    ],
)
def test_a_submission_that_is_refused_leaves_nothing(
    there: Installation, spoilt: dict[str, Any], status: int
) -> None:
    """Its idempotency key, its picture and its reservation included."""
    caller = there.caller(OWNER, credits=0.01, rpm=10)
    before = set(sizes(there.redis))
    named = {"idempotency-key": "refused"}
    response = there.call(caller, "POST", SUBMIT, json={**BODY, **spoilt}, headers=named)
    assert response.status_code == status, response.text
    assert new_keys(there, before) == set()


@contextmanager
def refusing(redis: Redis, command: str) -> Iterator[None]:
    """A Redis that takes every command but this one."""
    redis.execute_command("ACL", "SETUSER", "default", f"-{command}")
    try:
        yield
    finally:
        redis.execute_command("ACL", "SETUSER", "default", f"+{command}")


@pytest.mark.parametrize("image", [BODY["image"], ELSEWHERE], ids=["inline", "by URL"])
def test_a_submission_that_cannot_be_queued_leaves_nothing(
    there: Installation, caller: Caller, image: str
) -> None:
    """Redis takes the record and refuses the job: it is forgotten again."""
    before = set(sizes(there.redis))
    with refusing(there.redis, "sadd"):
        response = there.call(caller, "POST", SUBMIT, json={**BODY, "image": image})
    assert response.status_code == 503, response.text
    assert new_keys(there, before) <= {"metrics"}  # that it was submitted stays counted
    assert there.services.ledger.balances() == {caller.id: 1000.0}


def test_a_submission_that_redis_breaks_off_leaves_nothing(
    there: Installation, caller: Caller
) -> None:
    """The script that writes the record fails at its last command."""
    before = set(sizes(there.redis))
    named = {"idempotency-key": "full"}
    body = {**BODY, "image": inline(a_picture("blue"))}
    with refusing(there.redis, "publish"):
        response = there.call(caller, "POST", SUBMIT, json=body, headers=named)
    assert response.status_code == 503, response.text
    assert new_keys(there, before) <= {"metrics"}


def test_a_key_without_an_expiry_is_seen_at_once(redis: Redis) -> None:
    """What this file leans on."""
    redis.set("something:new", 1)
    redis.set("for:ever", 1, ex=HOUR_S + 10)
    redis.rpush("requests:pace", *range(33))
    for number in range(2):
        redis.set(f"rq:job:{number}", 1)
    redis.hset("keys", "a", 1)
    assert wrong_keys(redis, Installed(workers=1)) == [
        "2 keys rq:job:* have no expiry, at most 1 are allowed",
        "for:ever lives 3610 s, at most 3600 are allowed",
        "requests:pace holds 33, at most 32 are allowed",
        "something:new has no expiry",
    ]
