"""Prefetch: whether it was right or wrong, a request gets its own control picture."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app.core.queueing.jobs import GPU
from app.core.redis import keys
from app.core.requests.record import Stage
from worker.runtime import Runtime

FIRST, SECOND = "a" * 32, "b" * 32


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    """Two requests wait for the gpu."""
    expires_at = worker_runtime.requests.expiry()
    for request_id in (FIRST, SECOND):
        worker_runtime.blobs.put(keys.control_blob(request_id), request_id.encode(), expires_at)
        worker_runtime.jobs.enqueue(request_id, Stage.GENERATE)
    return worker_runtime


def delete_blobs(context: Runtime) -> None:
    """Delete the stored pictures: a result after this comes from memory."""
    context.blobs.delete(f"{FIRST}:control", f"{SECOND}:control")


def test_the_head_of_the_queue_is_prefetched_and_stays_in_the_queue(context: Runtime) -> None:
    context.prefetch.load_next()
    delete_blobs(context)
    assert context.prefetch.control_picture(FIRST) == FIRST.encode()
    assert context.jobs.waiting(GPU) == 2


def test_a_prefetched_picture_is_returned_once(context: Runtime) -> None:
    context.prefetch.load_next()
    delete_blobs(context)
    assert context.prefetch.control_picture(FIRST) is not None
    assert context.prefetch.control_picture(FIRST) is None


def test_another_request_gets_its_own_picture_and_drops_the_prefetched_one(
    context: Runtime,
) -> None:
    context.prefetch.load_next()
    assert context.prefetch.control_picture(SECOND) == SECOND.encode()
    delete_blobs(context)
    assert context.prefetch.control_picture(FIRST) is None


def test_a_picture_that_was_not_prefetched_is_read_from_the_store(context: Runtime) -> None:
    assert context.prefetch.control_picture(FIRST) == FIRST.encode()


def test_only_the_last_prefetched_picture_is_held(context: Runtime) -> None:
    context.prefetch.load_next()
    context.redis.lpop(context.jobs.queue(GPU).key)
    context.prefetch.load_next()
    delete_blobs(context)
    assert context.prefetch.control_picture(SECOND) == SECOND.encode()
    context.prefetch.load_next()
    assert context.prefetch.control_picture(FIRST) is None


@pytest.mark.parametrize("queued", [True, False])
def test_an_expired_picture_or_an_empty_queue_prefetches_nothing(
    context: Runtime, queued: bool
) -> None:
    if not queued:
        context.redis.delete(context.jobs.queue(GPU).key)
    delete_blobs(context)
    context.prefetch.load_next()
    assert context.prefetch.control_picture(FIRST) is None


def test_an_unavailable_store_raises_for_the_job_and_not_for_the_prefetch(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_name: str) -> Any:
        raise RedisConnectionError("away")

    monkeypatch.setattr(context.blobs, "get", away)
    context.prefetch.load_next()
    with pytest.raises(RedisConnectionError):
        context.prefetch.control_picture(FIRST)
