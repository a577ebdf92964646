"""The three stores keep the same promises; the test is the same for each."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from app.core.blobs import Blobs, check_blob_url, open_blobs
from app.core.directory_blobs import DirectoryBlobs
from app.core.errors import BlobsUnavailable
from app.core.s3_blobs import S3Blobs
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


def test_what_was_put_is_got_byte_for_byte(blobs: Blobs) -> None:
    data = bytes(range(256)) * 4000
    blobs.put("a1:pixels:0", data, soon())
    assert blobs.get("a1:pixels:0") == data
    assert blobs.get("a1:pixels:1") is None


def test_a_second_put_wins(blobs: Blobs) -> None:
    blobs.put("a1", b"first", soon())
    blobs.put("a1", b"", soon())
    assert blobs.get("a1") == b""


def test_what_was_deleted_is_gone_and_the_unknown_is_no_error(blobs: Blobs) -> None:
    blobs.put("a1", b"x", soon())
    blobs.put("b2", b"y", soon())
    blobs.delete("a1", "never")
    blobs.delete()
    assert blobs.get("a1") is None
    assert blobs.get("b2") == b"y"


def test_what_has_expired_is_gone_without_a_sweep(blobs: Blobs) -> None:
    expires_at = float(int(time.time()) + 1)
    blobs.put("a1", b"x", expires_at)
    while time.time() <= expires_at + 0.01:  # Redis keeps a key through its last millisecond
        time.sleep(0.05)
    assert blobs.get("a1") is None


def test_a_sweep_takes_what_has_expired_and_nothing_else(
    blobs: Blobs, stored: Callable[[], set[str]]
) -> None:
    expires_at = time.time() + 1
    blobs.put("a1", b"x", expires_at)
    blobs.put("b2", b"y", soon())
    while time.time() <= expires_at:
        time.sleep(0.05)
    blobs.sweep()
    assert stored() == {"b2"}
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


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "blobs")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ".hidden", "", "a\0b"])
def test_no_name_leaves_the_folder(directory: DirectoryBlobs, name: str) -> None:
    for use in (directory.get, directory.delete, lambda name: directory.put(name, b"", soon())):
        with pytest.raises(ValueError, match="name of a blob"):
            use(name)


def test_a_full_disk_is_an_error_of_the_infrastructure_and_leaves_nothing(
    directory: DirectoryBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    directory.put("a1", b"old", soon())
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(BlobsUnavailable):
            directory.put("a1", b"new", soon())
    assert directory.get("a1") == b"old"
    assert [path.name for path in (tmp_path / "blobs").glob("*/*")] == ["a1"]


def test_a_folder_that_is_gone_has_lost_nothing(directory: DirectoryBlobs, tmp_path: Path) -> None:
    directory.put("a1", b"x", soon())
    (tmp_path / "blobs").rename(tmp_path / "unmounted")
    for use in (directory.get, lambda name: directory.put(name, b"", soon())):
        with pytest.raises(BlobsUnavailable):
            use("a1")


def test_a_sweep_takes_what_a_dead_writer_left(directory: DirectoryBlobs, tmp_path: Path) -> None:
    directory.put("a1", b"x", soon())
    left, fresh = (tmp_path / "blobs" / "a1" / name for name in (".left", ".fresh"))
    for draft in (left, fresh):
        draft.touch()
    os.utime(left, (0, 0))
    assert directory.sweep() == 1
    assert fresh.exists()


@pytest.mark.usefixtures("on_s3")
def test_a_bucket_that_is_not_there_is_an_error_of_the_infrastructure(redis: Redis) -> None:
    with closed(open_blobs("s3://no-such-bucket", redis)) as blobs:
        for use in (blobs.get, blobs.delete, lambda name: blobs.put(name, b"", soon())):
            with pytest.raises(BlobsUnavailable):
                use("a1")


@pytest.mark.parametrize("url", ["redis", "file:///srv/blobs", "s3://bucket", "s3://bucket/a/b"])
def test_the_forms_of_the_setting(url: str) -> None:
    assert check_blob_url(url) == url


@pytest.mark.parametrize(
    "url", ["", "file://blobs", "file:///", "s3://", "s3:///x", "s3://b?x=1", "/srv", "redis://x"]
)
def test_other_forms_are_refused_with_the_right_ones(url: str) -> None:
    with pytest.raises(ValueError, match="redis, file:///FOLDER or s3://BUCKET/PREFIX"):
        check_blob_url(url)


def test_a_folder_that_cannot_be_made_stops_the_start(redis: Redis, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="BLOB_URL: .*: Not a directory"):
        open_blobs(f"file://{tmp_path}/file/blobs", redis)
