"""The stored files of finished requests: what is counted, and what the quota removes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from redis import Redis

from app.core.errors import BlobsUnavailable, Cancelled
from app.core.requests.store import RequestStore
from app.core.storage.directory import DirectoryBlobs
from app.core.storage.stored_outputs import StoredOutputs, output_blobs
from tests.support.records import begun, finish, output

NOW = int(time.time())
DAY_S = 86_400


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "blobs")


@pytest.fixture
def requests(redis: Redis) -> RequestStore:
    return RequestStore(redis, 3600)


def outputs(redis: Redis, blobs: DirectoryBlobs, quota: int | None) -> StoredOutputs:
    return StoredOutputs(redis, blobs, quota)


def store(
    requests: RequestStore,
    blobs: DirectoryBlobs,
    number: int,
    size: int,
    record_left_s: int,
    left_s: int = 7 * DAY_S,
) -> str:
    """A COMPLETED request with one file. record_left_s, left_s: until record and file expire."""
    request_id = f"{number:032x}"
    # An expired record is gone from Redis: submit it as living and delete it afterwards.
    begun(requests, request_id, expires_at=NOW + 3600)
    requests._redis.hset(f"req:{request_id}", "expires_at", str(NOW + record_left_s))
    blobs.put(f"{request_id}:output:0", b"x" * size, NOW + left_s)
    picture = output(0, file_size=size)
    finish(requests, request_id, outputs=(picture,), outputs_expire_at=NOW + left_s)
    if record_left_s <= 0:
        requests.forget(request_id)
    return request_id


def files(tmp_path: Path) -> set[str]:
    return {path.name.partition(":")[0] for path in (tmp_path / "blobs").glob("*/*")}


def test_a_completed_request_is_counted_with_all_its_files(
    redis: Redis, requests: RequestStore, blobs: DirectoryBlobs
) -> None:
    for number, size in ((1, 100), (2, 50)):
        store(requests, blobs, number, size, 3600)
    usage = outputs(redis, blobs, 1000).usage()
    assert (usage.requests, usage.bytes, usage.limit) == (2, 150, 1000)
    assert usage.free is not None


def test_a_request_without_an_expiry_of_its_files_or_without_an_end_is_not_counted(
    redis: Redis, requests: RequestStore, blobs: DirectoryBlobs
) -> None:
    finish(requests, begun(requests, "a" * 32), outputs=(output(0),))  # by an older worker
    requests.fail(begun(requests, "b" * 32), Cancelled())
    begun(requests, "c" * 32)
    usage = outputs(redis, blobs, None).usage()
    assert (usage.requests, usage.bytes) == (0, 0)


def test_the_quota_removes_the_oldest_and_only_as_many_as_it_needs_to(
    redis: Redis, requests: RequestStore, blobs: DirectoryBlobs, tmp_path: Path
) -> None:
    """Number 2 is the oldest although it expires last: OUTPUT_TTL_S was longer at its time."""
    oldest = store(requests, blobs, 2, 100, -300, 9 * DAY_S)
    second = store(requests, blobs, 1, 100, -200, 2 * DAY_S)
    third = store(requests, blobs, 3, 100, -100)
    assert outputs(redis, blobs, 300).enforce_quota() == 0
    assert outputs(redis, blobs, 299).enforce_quota() == 1
    assert files(tmp_path) == {second, third}
    stored = outputs(redis, blobs, 100)
    assert stored.stored([oldest, second, third]) == {second, third}
    assert stored.enforce_quota() == 1
    assert files(tmp_path) == {third}
    assert stored.usage().bytes == 100
    assert outputs(redis, blobs, 0).enforce_quota() == 1
    assert outputs(redis, blobs, 0).enforce_quota() == 0
    assert redis.hgetall("outputs:bytes") == {b"total": b"0"}
    assert redis.exists("outputs:expiry", "outputs:records") == 0


def test_the_quota_removes_no_file_whose_record_lives(
    redis: Redis, requests: RequestStore, blobs: DirectoryBlobs, tmp_path: Path
) -> None:
    """Also under a burst that exceeds the quota by far."""
    living = {store(requests, blobs, number, 1000, 3600 + number) for number in range(5)}
    outlived = store(requests, blobs, 9, 10, -1)
    stored = outputs(redis, blobs, 1500)
    assert stored.enforce_quota() == 1
    assert files(tmp_path) == living
    assert stored.stored([*living, outlived]) == living
    assert stored.enforce_quota() == 0


def test_files_that_have_expired_are_not_counted(
    redis: Redis, requests: RequestStore, blobs: DirectoryBlobs
) -> None:
    expired = store(requests, blobs, 1, 100, -100, -1)
    outlived = store(requests, blobs, 2, 100, -50)
    stored = outputs(redis, blobs, 100)
    assert stored.enforce_quota() == 0
    assert stored.stored([expired, outlived]) == {outlived}
    assert stored.usage().bytes == 100


def test_two_processes_remove_and_count_each_file_once(
    redis: Redis, requests: RequestStore, blobs: DirectoryBlobs, tmp_path: Path
) -> None:
    for number in range(4):
        store(requests, blobs, number, 100, -100 + number)
    first = outputs(redis, blobs, 200)
    selected = first._over_quota(args=[repr(time.time()), "200", 200])
    assert outputs(redis, blobs, 200).enforce_quota() == 2
    for _ in range(2):
        first._drop(args=selected)
    assert first.usage().bytes == 200
    assert files(tmp_path) == {f"{number:032x}" for number in (2, 3)}


def test_a_store_that_fails_keeps_the_count(
    redis: Redis, requests: RequestStore, blobs: DirectoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(requests, blobs, 1, 100, -100)

    def fail(*_names: str) -> None:
        raise BlobsUnavailable

    stored = outputs(redis, blobs, 0)
    with monkeypatch.context() as broken:
        broken.setattr(blobs, "delete", fail)
        with pytest.raises(BlobsUnavailable):
            stored.enforce_quota()
    assert stored.usage().bytes == 100
    assert stored.enforce_quota() == 1


def test_one_call_removes_a_batch(
    redis: Redis,
    requests: RequestStore,
    blobs: DirectoryBlobs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.core.storage.stored_outputs._BATCH", 2)
    for number in range(3):
        store(requests, blobs, number, 100, -100 + number)
    stored = outputs(redis, blobs, 0)
    assert [stored.enforce_quota() for _ in range(3)] == [2, 1, 0]


@pytest.mark.parametrize(
    ("free", "limit", "removed"), [(100, 150, 1), (200, 200, 0), (0, 100, 1), (None, None, 0)]
)
def test_without_a_quota_pictures_take_half_of_the_space(
    redis: Redis,
    requests: RequestStore,
    blobs: DirectoryBlobs,
    monkeypatch: pytest.MonkeyPatch,
    free: int | None,
    limit: int | None,
    removed: int,
) -> None:
    """Half of what is free and what they take already."""
    for number in range(2):
        store(requests, blobs, number, 100, -100 + number)
    monkeypatch.setattr(blobs, "free_bytes", lambda: free)
    stored = outputs(redis, blobs, None)
    assert stored.usage().limit == limit
    assert stored.enforce_quota() == removed


def test_the_files_of_a_request_have_these_names() -> None:
    maps = ["a:output:map", "a:output:map-1", "a:output:map-2"]
    pictures = [f"a:output:{number}" for number in range(4)]
    assert output_blobs("a") == pictures + maps
    assert output_blobs("a", 1) == pictures + maps[:1]


def test_of_no_requests_nothing_is_read(redis: Redis, blobs: DirectoryBlobs) -> None:
    assert outputs(redis, blobs, None).stored([]) == set()
