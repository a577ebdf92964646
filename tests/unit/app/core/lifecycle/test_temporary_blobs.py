"""Temporary blobs: those that are deleted after the end of a request, and those that stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis import Redis

from app.core.errors import Cancelled
from app.core.lifecycle.temporary_blobs import delete_temporary_blobs
from app.core.requests.record import Stage
from app.core.requests.stage_results import FinishResult
from app.core.requests.store import RequestStore
from app.core.requests.types import SavedWork
from app.core.storage.redis import RedisBlobs
from models.spec import Control
from tests.support.records import PARAMS, SOURCE

ID, OTHER = "a" * 32, "b" * 32

BETWEEN_JOBS = {"source", "control", "map", *(f"pixels:{number}" for number in range(4))}
ANSWERS = {"answers:e:0", "answers:e:1"}
RESULTS = {"output:map", *(f"output:{number}" for number in range(4))}


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    """Two requests with every blob that one can have: four samples are the most."""
    made, blobs = RequestStore(redis, 60), RedisBlobs(redis)
    for request_id in (ID, OTHER):
        made.submit(request_id, "a", PARAMS, SOURCE, made.expiry())
        made.claim(request_id, Stage.PREPARE, "e")
        chunks = tuple((f"{request_id}:{name}", 1) for name in sorted(ANSWERS))
        made.keep(request_id, "e", SavedWork(chunks=chunks))
        for name in BETWEEN_JOBS | ANSWERS | RESULTS:
            blobs.put(f"{request_id}:{name}", b"x", made.expiry())
    return made


def names(redis: Redis, request_id: str) -> set[str]:
    prefix = f"blob:{request_id}:"
    return {key.decode().removeprefix(prefix) for key in redis.keys(f"{prefix}*")}


def test_a_completed_request_keeps_what_it_delivers(store: RequestStore, redis: Redis) -> None:
    assert store.complete(ID, "e", FinishResult())
    delete_temporary_blobs(store, RedisBlobs(redis), ID)
    assert names(redis, ID) == RESULTS


def test_a_failed_request_keeps_nothing(store: RequestStore, redis: Redis) -> None:
    """It may have failed, or been cancelled, while its pictures were being written."""
    assert store.fail(ID, Cancelled())
    delete_temporary_blobs(store, RedisBlobs(redis), ID)
    assert names(redis, ID) == set()
    assert names(redis, OTHER) == BETWEEN_JOBS | ANSWERS | RESULTS


def test_of_a_request_without_a_record_goes_what_can_be_named(
    store: RequestStore, redis: Redis
) -> None:
    store.forget(ID)
    delete_temporary_blobs(store, RedisBlobs(redis), ID)
    assert names(redis, ID) == RESULTS | ANSWERS


def test_every_blob_of_several_controls_is_deleted(redis: Redis) -> None:
    store, blobs = RequestStore(redis, 60), RedisBlobs(redis)
    params = replace(PARAMS, controls=(Control("canny"), Control("pose"), Control("tile")))
    more = {f"{kind}:{index}" for kind in ("source", "control", "map") for index in (1, 2)}
    maps = {"output:map-1", "output:map-2"}
    for request_id in (ID, OTHER):
        store.submit(request_id, "a", params, SOURCE, store.expiry())
        store.claim(request_id, Stage.PREPARE, "e")
        for name in BETWEEN_JOBS | RESULTS | more | maps:
            blobs.put(f"{request_id}:{name}", b"x", store.expiry())
    assert store.complete(ID, "e", FinishResult())
    assert store.fail(OTHER, Cancelled())
    for request_id in (ID, OTHER):
        delete_temporary_blobs(store, blobs, request_id)
    assert names(redis, ID) == RESULTS | maps
    assert names(redis, OTHER) == set()
