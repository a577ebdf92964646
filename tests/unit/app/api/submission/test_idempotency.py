"""Submissions that do not go through, or whose process dies on the way, do not use up a key."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis.exceptions import RedisError

from app.api.deps import Services
from app.api.submission import idempotency
from app.api.submission.idempotency import submit_once
from app.api.submission.pictures import pictures_of
from app.api.submission.submit import Submission, submit
from app.api.wire.requests import FluxControlNetBody, parse_body
from app.core.accounts.api_keys import Key
from app.core.errors import BlobsUnavailable
from app.core.lifecycle.recovery import recover_orphans
from app.core.requests.idempotency import Use
from app.core.requests.record import Stage
from tests.support.records import PARAMS, SOURCE
from tests.support.wire import V2

CALLER = Key("k", "team-a", 0.0)


def submission(
    uploads: dict[str, bytes] | None = None, inline: dict[str, bytes] | None = None, **fields: Any
) -> Submission:
    body = parse_body(FluxControlNetBody, {"image": "aGVsbG8=", "prompt": "x", **fields})
    return Submission(body, pictures_of(body, uploads or {}, inline or {}))


SUBMISSION = submission()


def submitted(services: Services) -> str:
    return submit_once(services, CALLER, SUBMISSION, "key")


def requests(services: Services) -> int:
    return len(services.requests.unfinished())


def test_a_submission_that_failed_frees_the_key(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RedisError("OOM")

    with monkeypatch.context() as patch:
        patch.setattr(type(services.requests), "submit", full)
        with pytest.raises(RedisError):
            submitted(services)
    assert requests(services) == 0
    request_id = submitted(services)
    assert submitted(services) == request_id
    assert requests(services) == 1


def test_a_request_that_was_not_enqueued_is_kept_for_clients_that_got_its_id(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another call may have had its id from the key already; it gets a job as a stray."""
    returned_ids: list[str] = []

    def full(*_: Any) -> None:
        returned_ids.append(submitted(services))
        raise RedisError("OOM")

    with monkeypatch.context() as patch:
        patch.setattr(type(services.jobs), "enqueue", full)
        first = submitted(services)
    assert returned_ids == [first]
    recover_orphans(services.requests, services.jobs, lambda: None)
    assert services.jobs.carried_stages() == {(first, Stage.PREPARE)}


def test_a_second_call_waits_for_the_first_and_takes_over_when_it_fails(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is held up in the middle until the second has come, and then fails."""
    begun, waited = threading.Event(), threading.Event()

    def hold_up(*given: Any) -> str:
        if not begun.is_set():
            begun.set()
            waited.wait()
            raise RedisError("away")
        return submit(*given)

    monkeypatch.setattr(idempotency, "submit", hold_up)
    monkeypatch.setattr(time, "sleep", lambda _: waited.set())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(submitted, services)
        begun.wait()
        second = pool.submit(submitted, services)
        assert isinstance(first.exception(), RedisError)
        request_id = second.result()
    assert list(services.requests.unfinished()) == [request_id]


@pytest.mark.parametrize("there", [True, False])
def test_a_process_that_died_on_the_way_leaves_the_key_usable(
    services: Services, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Before its request was there, or after: then that is the one."""
    monkeypatch.setattr(idempotency, "_PATIENCE_S", 0.0)
    use = Use(idempotency._digest(SUBMISSION), "d" * 32)
    services.idempotency.take(CALLER.name, "key", use, services.requests.expiry())
    if there:
        guard = services.idempotency.guard(CALLER.name, "key", use)
        expires_at = services.requests.expiry()
        services.requests.submit(
            use.request_id, CALLER.name, PARAMS, SOURCE, expires_at, guard=guard
        )
    request_id = submitted(services)
    assert (request_id == use.request_id) is there
    assert submitted(services) == request_id
    assert requests(services) == 1


def test_a_call_that_lost_its_idempotency_key_returns_the_request_of_the_successor(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis or the store of pictures stood still for longer than the second one's patience."""
    monkeypatch.setattr(idempotency, "_PATIENCE_S", 0.0)
    begun, taken_over = threading.Event(), threading.Event()

    def hold_up(*given: Any) -> str:
        if not begun.is_set():
            begun.set()
            taken_over.wait()
        return submit(*given)

    monkeypatch.setattr(idempotency, "submit", hold_up)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(submitted, services)
        begun.wait()
        second = submitted(services)
        taken_over.set()
        assert first.result() == second
    assert list(services.requests.unfinished()) == [second]
    assert services.redis.keys("blob:*") == [f"blob:{second}:source".encode()]


# ---- the header


BODY = {"image": "aGVsbG8=", "prompt": "x"}


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        *(("a", True), ("a" * 255, True), ("a" * 256, False), ("", False)),
        *(("!~", True), ("a b", False), ("\x7f", False), ("\xe9", False), ("a\t", False)),
    ],
)
def test_a_key_has_1_to_255_visible_characters(api: TestClient, key: str, taken: bool) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = api.post(V2, json=BODY, headers=headers)
    assert answer.status_code == (200 if taken else 400)
    if not taken:
        assert answer.json() == {
            "error": "Idempotency-Key: 1 to 255 visible ASCII characters are needed"
        }


def test_the_same_body_is_the_same_request_and_another_is_409(api: TestClient) -> None:
    headers = {"idempotency-key": "a"}
    first = api.post(V2, json=BODY, headers=headers).json()["request_id"]
    same = {"prompt": "x", "seed": -1, "steps": 20, "image": "aGVsbG8=", "unknown": 1}
    assert api.post(V2, json=same, headers=headers).json()["request_id"] == first
    for changes in (
        {"prompt": "y"},
        {"image": "aGVsbG8"},
        {"seed": 0},
        {"webhook_url": "https://a.b"},
    ):
        other = api.post(V2, json={**BODY, **changes}, headers=headers)
        assert other.status_code == 409
        assert other.json() == {"error": "Idempotency-Key: was used with another body"}
    assert api.post(V2, json=BODY, headers={"idempotency-key": "b"}).json()["request_id"] != first
    assert api.post(V2, json=BODY).json()["request_id"] != first


def test_a_file_is_a_part_of_the_body(api: TestClient) -> None:
    def submitted(picture: bytes) -> Any:
        files = {"image": ("a.png", picture)}
        headers = {"idempotency-key": "a"}
        return api.post(V2, data={"prompt": "x"}, files=files, headers=headers)

    first = submitted(b"one")
    assert submitted(b"one").json() == first.json()
    assert submitted(b"two").status_code == 409


class Clock:
    """Stands still but for those who sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return 100 + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_another_submission_is_waited_for_five_seconds(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process may be dead; then the key is taken over."""
    clock = Clock()
    monkeypatch.setattr(idempotency, "time", clock)
    use = Use(idempotency._digest(SUBMISSION), "d" * 32)
    services.idempotency.take(CALLER.name, "key", use, services.requests.expiry())
    assert submitted(services) != use.request_id
    assert set(clock.slept) == {0.02}
    assert 250 <= len(clock.slept) <= 251


def test_a_key_that_could_not_be_used_is_left_behind_by_no_error(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: also the end of the process."""
    for error in (RedisError("OOM"), BlobsUnavailable(), ValueError(), KeyboardInterrupt()):

        def fail(*_: Any, error: BaseException = error, **__: Any) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(idempotency, "submit", fail)
            with pytest.raises(type(error)):
                submitted(services)
        assert services.redis.keys("idempotency:*") == []


LONG = b"aGVs" * 30_000


@pytest.mark.parametrize(
    ("sent", "digest"),
    [
        (SUBMISSION, "5ec50d6cef083fb83820ae435e4da0d3318a2ebea36e44e6bc472f4776a577d1"),
        (
            submission(cn_type="canny", control_image="base64", inline={"control_image": LONG}),
            "b634aadf619bcb65a9b1cbcd4d23e26a5e78104df919d5e5fbad579e3564c3b0",
        ),
        (
            submission(image="a file", uploads={"image": b"bytes"}),
            "d1a5726ca5a745a18594a0762c0091037934133996af376ff7b6a2d936268dac",
        ),
    ],
    ids=["base64", "long base64", "file"],
)
def test_a_digest_is_that_of_the_version_before(sent: Submission, digest: str) -> None:
    """A client may repeat at the new version what it sent to the old one."""
    assert idempotency._digest(sent) == digest


def test_an_added_parameter_counts_where_it_is_not_the_default() -> None:
    digest = idempotency._digest
    assert digest(submission(cn_start=0, canny_low=100, canny_high="200")) == digest(SUBMISSION)
    others = ({"cn_start": 0.1}, {"canny_low": 99}, {"controls": [{"type": "pose"}]})
    assert len({digest(submission(**other)) for other in ({}, *others)}) == 4


def test_the_loras_count_by_name_and_scale() -> None:
    def digest(*loras: dict[str, Any]) -> str:
        return idempotency._digest(submission(loras=list(loras)))

    assert digest() == idempotency._digest(SUBMISSION)
    ink, oil = {"name": "ink"}, {"name": "oil"}
    assert digest(ink) == digest({"name": "ink.safetensors", "scale": "1", "sha256": "ab"})
    others = (digest(ink), digest({**ink, "scale": 0.5}), digest(ink, oil), digest(oil, ink))
    assert len({digest(), *others}) == 5


def test_every_picture_of_several_counts_and_not_how_it_was_parsed() -> None:
    digest, text = idempotency._digest, LONG.decode()

    def sent(one: str, other: str, **inline: bytes) -> Submission:
        elements = [
            {"type": "canny", "image": one, "strength": "0.45"},
            {"type": "pose", "control_image": other, "later": 1},
        ]
        names = {"first": "controls[0].image", "second": "controls[1].control_image"}
        long = {names[name]: value for name, value in inline.items()}
        return submission(controls=elements, inline=long)

    whole = digest(sent(text, text))
    assert whole == digest(sent("base64", text, first=LONG))
    assert whole == digest(sent(text, "base64", second=LONG))
    assert whole == digest(sent("base64", "base64", first=LONG, second=LONG))
    others = [
        sent("base64", "base64", first=LONG, second=LONG[:-4]),
        sent("base64", "base64", first=LONG[:-4], second=LONG),
        sent("base64", "base64", first=LONG[:-8], second=LONG + LONG[-8:]),
    ]
    assert len({whole, *map(digest, others)}) == 4


def test_files_of_several_controls_count_in_their_order() -> None:
    elements = [{"type": "canny", "image": "a file"}, {"type": "pose", "image": "a file"}]
    names = ["controls[0].image", "controls[1].image"]
    files = [dict(zip(names, data, strict=True)) for data in ((b"a", b"b"), (b"b", b"a"))]
    first, second = (submission(controls=elements, uploads=of) for of in files)
    assert idempotency._digest(first) != idempotency._digest(second)
