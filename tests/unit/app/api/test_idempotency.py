"""Submissions that do not go through, or whose process dies on the way, do not use up a key."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis.exceptions import RedisError

from app.api import idempotency
from app.api.idempotency import submit_once
from app.api.schemas import FluxControlNetBody, parse_body
from app.api.services import Services
from app.api.submission import Submission
from app.core.idempotency import Use
from app.core.keys import Key
from app.core.record import Stage
from app.core.strays import settle_strays

CALLER = Key("k", "team-a", 0.0)
SUBMISSION = Submission(parse_body(FluxControlNetBody, {"image": "aGVsbG8=", "prompt": "x"}), None)


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


def test_what_could_not_be_queued_is_kept_for_whoever_was_told_of_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another call may have had its id from the key already; it gets a job as a stray."""
    told: list[str] = []

    def full(*_: Any) -> None:
        told.append(submitted(services))
        raise RedisError("OOM")

    with monkeypatch.context() as patch:
        patch.setattr(type(services.jobs), "enqueue", full)
        first = submitted(services)
    assert told == [first]
    settle_strays(services.requests, services.jobs, lambda: None)
    assert services.jobs.carried() == {(first, Stage.PREPARE)}


def test_who_comes_second_waits_for_the_first_and_takes_over_when_it_fails(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is held up in the middle until the second has come, and then fails."""
    begun, waited = threading.Event(), threading.Event()
    submit = idempotency.submit

    def hold_up(*given: Any) -> str:
        if not begun.is_set():
            begun.set()
            waited.wait()
            raise RedisError("away")
        return submit(*given)

    monkeypatch.setattr(idempotency, "submit", hold_up)
    monkeypatch.setattr(idempotency.time, "sleep", lambda _: waited.set())
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
        hold = services.idempotency.hold(CALLER.name, "key", use)
        expires_at = services.requests.expiry()
        services.requests.submit(use.request_id, CALLER.name, {}, {}, expires_at, hold=hold)
    request_id = submitted(services)
    assert (request_id == use.request_id) is there
    assert submitted(services) == request_id
    assert requests(services) == 1


def test_who_was_too_slow_gets_the_request_of_who_took_over(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis or the store of pictures stood still for longer than the second one's patience."""
    monkeypatch.setattr(idempotency, "_PATIENCE_S", 0.0)
    begun, taken_over = threading.Event(), threading.Event()
    submit = idempotency.submit

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
