"""Reading ahead is advice: right or wrong, the request gets its own control picture."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app.core.queueing.jobs import GPU
from app.core.requests.record import Stage
from worker.runtime import Runtime

FIRST, SECOND = "a" * 32, "b" * 32


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    """Two requests wait for the gpu."""
    expires_at = worker_runtime.requests.expiry()
    for request_id in (FIRST, SECOND):
        worker_runtime.blobs.put(f"{request_id}:control", request_id.encode(), expires_at)
        worker_runtime.jobs.enqueue(request_id, Stage.GENERATE)
    return worker_runtime


def forget(context: Runtime) -> None:
    """Whatever is still answered was in memory."""
    context.blobs.delete(f"{FIRST}:control", f"{SECOND}:control")


def test_the_head_of_the_queue_is_kept_and_left_in_the_queue(context: Runtime) -> None:
    context.prefetch.read()
    forget(context)
    assert context.prefetch.control(FIRST) == FIRST.encode()
    assert context.jobs.waiting(GPU) == 2


def test_what_was_kept_is_handed_out_once(context: Runtime) -> None:
    context.prefetch.read()
    forget(context)
    assert context.prefetch.control(FIRST) is not None
    assert context.prefetch.control(FIRST) is None


def test_another_request_gets_its_own_and_ends_what_was_kept(context: Runtime) -> None:
    context.prefetch.read()
    assert context.prefetch.control(SECOND) == SECOND.encode()
    forget(context)
    assert context.prefetch.control(FIRST) is None


def test_nothing_kept_is_read_from_the_store(context: Runtime) -> None:
    assert context.prefetch.control(FIRST) == FIRST.encode()


def test_only_the_last_look_is_kept(context: Runtime) -> None:
    context.prefetch.read()
    context.redis.lpop(context.jobs.queue(GPU).key)
    context.prefetch.read()
    forget(context)
    assert context.prefetch.control(SECOND) == SECOND.encode()
    context.prefetch.read()
    assert context.prefetch.control(FIRST) is None


@pytest.mark.parametrize("queued", [True, False])
def test_an_expired_picture_or_an_empty_queue_is_nothing(context: Runtime, queued: bool) -> None:
    if not queued:
        context.redis.delete(context.jobs.queue(GPU).key)
    forget(context)
    context.prefetch.read()
    assert context.prefetch.control(FIRST) is None


def test_a_store_that_is_away_is_met_by_whoever_needs_it(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_name: str) -> Any:
        raise RedisConnectionError("away")

    monkeypatch.setattr(context.blobs, "get", away)
    context.prefetch.read()
    with pytest.raises(RedisConnectionError):
        context.prefetch.control(FIRST)
