"""The contract of a blob store, tested on each of the three stores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from redis import Redis

from app.core.errors import BlobsUnavailable
from app.core.storage.base import Blobs
from app.core.storage.directory import DirectoryBlobs
from app.core.storage.factory import open_blobs
from app.core.storage.s3 import S3Blobs
from tests.support.s3 import BUCKET, running_s3


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    with running_s3() as environment:
        yield environment


@pytest.fixture
def on_s3(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["redis", "directory", "s3"])
def blobs(request: pytest.FixtureRequest, redis: Redis, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "s3":
        request.getfixturevalue("on_s3")
    urls = {
        "redis": "redis",
        "directory": f"file://{tmp_path}/blobs",
        "s3": f"s3://{BUCKET}/{tmp_path.name}/blobs",
    }
    with closed(open_blobs(urls[request.param], redis)) as opened:
        yield opened


@contextmanager
def closed(blobs: Blobs) -> Iterator[Blobs]:
    """A process keeps its store, and so its connections, for life; a test must not."""
    yield blobs
    if isinstance(blobs, S3Blobs):
        blobs._s3.close()


def soon() -> float:
    return time.time() + 60


def test_a_stored_blob_is_read_byte_for_byte(blobs: Blobs) -> None:
    data = bytes(range(256)) * 4000
    blobs.put("a1:pixels:0", data, soon())
    assert blobs.get("a1:pixels:0") == data
    assert blobs.get("a1:pixels:1") is None


def test_a_second_put_wins(blobs: Blobs) -> None:
    blobs.put("a1", b"first", soon())
    blobs.put("a1", b"", soon())
    assert blobs.get("a1") == b""


def test_a_deleted_blob_is_gone_and_deleting_an_unknown_one_is_no_error(blobs: Blobs) -> None:
    blobs.put("a1", b"x", soon())
    blobs.put("b2", b"y", soon())
    blobs.delete("a1", "never")
    blobs.delete()
    assert blobs.get("a1") is None
    assert blobs.get("b2") == b"y"


def test_an_expired_blob_is_gone_without_a_sweep(blobs: Blobs) -> None:
    expires_at = float(int(time.time()) + 1)
    blobs.put("a1", b"x", expires_at)
    while time.time() <= expires_at + 0.01:  # Redis keeps a key through its last millisecond
        time.sleep(0.05)
    assert blobs.get("a1") is None


def test_a_sweep_takes_what_has_expired_and_nothing_else(
    blobs: Blobs, stored: Callable[[], set[str]]
) -> None:
    expires_at = time.time() + 1
    expired, living = f"{'a' * 32}:output:0", f"{'b' * 32}:output:0"
    blobs.put(expired, b"x", expires_at)
    blobs.put(living, b"y", soon())
    while time.time() <= expires_at:
        time.sleep(0.05)
    blobs.sweep()
    assert stored() == {living}
    assert blobs.sweep() == 0


@pytest.fixture
def stored(blobs: Blobs, redis: Redis) -> Callable[[], set[str]]:
    """The names that the store itself holds, whatever get() says of them."""

    def names() -> set[str]:
        if isinstance(blobs, DirectoryBlobs):
            return {path.name for path in blobs._root.glob("*/*")}
        if isinstance(blobs, S3Blobs):
            found = blobs._s3.list_objects_v2(Bucket=BUCKET, Prefix=blobs._prefix)
            return {one["Key"].removeprefix(blobs._prefix) for one in found.get("Contents", ())}
        return {key.decode().removeprefix("blob:") for key in redis.scan_iter("blob:*")}

    return names


@pytest.mark.usefixtures("on_s3")
def test_a_bucket_that_is_not_there_is_an_error_of_the_infrastructure(redis: Redis) -> None:
    with closed(open_blobs("s3://no-such-bucket", redis)) as blobs:
        for use in (blobs.get, blobs.delete, lambda name: blobs.put(name, b"", soon())):
            with pytest.raises(BlobsUnavailable):
                use("a1")


def test_blobs_in_redis_are_keys_of_their_own(redis: Redis) -> None:
    blobs = open_blobs("redis", redis)
    blobs.put("a1:output:0", b"x", int(time.time()) + 60.9)
    assert redis.get("blob:a1:output:0") == b"x"
    assert 57 <= cast(int, redis.ttl("blob:a1:output:0")) <= 60
    assert blobs.sweep() == 0


@pytest.fixture
def moved_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves time.time() of this process by so many days."""
    real = time.time

    def move(days: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + days * 86_400)

    return move


@pytest.mark.parametrize("blobs", ["directory", "s3"], indirect=True)
def test_a_blob_of_seven_days_is_there_on_day_2_and_gone_on_day_8(
    blobs: Blobs, stored: Callable[[], set[str]], moved_clock: Callable[[float], None]
) -> None:
    name = f"{'a' * 32}:output:0"
    blobs.put(name, b"x", time.time() + 7 * 86_400)
    moved_clock(2)
    assert blobs.sweep() == 0
    assert blobs.get(name) == b"x"
    moved_clock(8)
    assert blobs.get(name) is None
    assert blobs.sweep() == 1
    assert stored() == set()


@pytest.mark.parametrize("blobs", ["s3"], indirect=True)
def test_a_bucket_has_no_known_limit(blobs: Blobs) -> None:
    assert blobs.free_bytes() is None


def test_a_redis_has_what_maxmemory_leaves(redis: Redis) -> None:
    blobs = open_blobs("redis", redis)
    assert blobs.free_bytes() is None
    try:
        redis.config_set("maxmemory", 10**9)
        free = blobs.free_bytes()
        assert free is not None
        assert 0.5e9 < free < 1e9
        redis.config_set("maxmemory", 1)
        assert blobs.free_bytes() == 0
    finally:
        redis.config_set("maxmemory", 0)
