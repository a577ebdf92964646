"""Prefetch: whether it was right or wrong, a request gets its own control picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app.core.queueing.jobs import GPU
from app.core.redis import keys
from app.core.requests.record import Stage
from models.spec import Control
from tests.support.records import PARAMS, SOURCE
from worker.runtime import Runtime

FIRST, SECOND = "a" * 32, "b" * 32


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    """Two requests wait for the gpu."""
    expires_at = worker_runtime.requests.expiry()
    for request_id in (FIRST, SECOND):
        worker_runtime.requests.submit(request_id, "a", PARAMS, SOURCE, expires_at)
        worker_runtime.blobs.put(keys.control_blob(request_id), request_id.encode(), expires_at)
        worker_runtime.jobs.enqueue(request_id, Stage.GENERATE)
    return worker_runtime


def delete_blobs(context: Runtime) -> None:
    """Delete the stored pictures: a result after this comes from memory."""
    context.blobs.delete(f"{FIRST}:control", f"{SECOND}:control")


def test_the_head_of_the_queue_is_prefetched_and_stays_in_the_queue(context: Runtime) -> None:
    context.prefetch.load_next()
    delete_blobs(context)
    assert context.prefetch.control_pictures(FIRST, 1) == [FIRST.encode()]
    assert context.jobs.waiting(GPU) == 2


def test_a_prefetched_picture_is_returned_once(context: Runtime) -> None:
    context.prefetch.load_next()
    delete_blobs(context)
    assert context.prefetch.control_pictures(FIRST, 1) is not None
    assert context.prefetch.control_pictures(FIRST, 1) is None


def test_another_request_gets_its_own_picture_and_drops_the_prefetched_one(
    context: Runtime,
) -> None:
    context.prefetch.load_next()
    assert context.prefetch.control_pictures(SECOND, 1) == [SECOND.encode()]
    delete_blobs(context)
    assert context.prefetch.control_pictures(FIRST, 1) is None


def test_a_picture_that_was_not_prefetched_is_read_from_the_store(context: Runtime) -> None:
    assert context.prefetch.control_pictures(FIRST, 1) == [FIRST.encode()]


def test_only_the_last_prefetched_picture_is_held(context: Runtime) -> None:
    context.prefetch.load_next()
    context.redis.lpop(context.jobs.queue(GPU).key)
    context.prefetch.load_next()
    delete_blobs(context)
    assert context.prefetch.control_pictures(SECOND, 1) == [SECOND.encode()]
    context.prefetch.load_next()
    assert context.prefetch.control_pictures(FIRST, 1) is None


@pytest.mark.parametrize("queued", [True, False])
def test_an_expired_picture_or_an_empty_queue_prefetches_nothing(
    context: Runtime, queued: bool
) -> None:
    if not queued:
        context.redis.delete(context.jobs.queue(GPU).key)
    delete_blobs(context)
    context.prefetch.load_next()
    assert context.prefetch.control_pictures(FIRST, 1) is None


def test_an_unavailable_store_raises_for_the_job_and_not_for_the_prefetch(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_name: str) -> Any:
        raise RedisConnectionError("away")

    monkeypatch.setattr(context.blobs, "get", away)
    context.prefetch.load_next()
    with pytest.raises(RedisConnectionError):
        context.prefetch.control_pictures(FIRST, 1)


def several(context: Runtime) -> str:
    """A request with two controls at the head of the queue."""
    request_id, expires_at = "c" * 32, context.requests.expiry()
    params = replace(PARAMS, controls=(Control("canny"), Control("pose")))
    context.requests.submit(request_id, "a", params, SOURCE, expires_at)
    for control in (0, 1):
        name = keys.control_blob(request_id, control)
        context.blobs.put(name, str(control).encode(), expires_at)
    context.redis.delete(context.jobs.queue(GPU).key)
    context.jobs.enqueue(request_id, Stage.GENERATE)
    return request_id


def test_all_control_pictures_of_a_request_are_prefetched(context: Runtime) -> None:
    request_id = several(context)
    context.prefetch.load_next()
    context.blobs.delete(*(keys.control_blob(request_id, control) for control in (0, 1)))
    assert context.prefetch.control_pictures(request_id, 2) == [b"0", b"1"]


@pytest.mark.parametrize("prefetches", [True, False])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_request_that_lost_one_of_its_pictures_has_none(
    context: Runtime, lost: int, prefetches: bool
) -> None:
    request_id = several(context)
    context.blobs.delete(keys.control_blob(request_id, lost))
    if prefetches:
        context.prefetch.load_next()
    assert context.prefetch.control_pictures(request_id, 2) is None
