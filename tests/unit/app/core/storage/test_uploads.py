"""Uploaded pictures: valid files, quotas and lifetimes."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from redis import Redis

from app.core.errors import QuotaExceeded
from app.core.images.decode import decode
from app.core.redis import keys
from app.core.storage import uploads as module
from app.core.storage.redis import RedisBlobs
from app.core.storage.uploads import KINDS, Upload, Uploads, picture_of
from tests.support.heif_files import SIZE as HEIC_SIZE
from tests.support.heif_files import coded, container, heic
from tests.support.pictures import astronaut, encoded

SMALL = astronaut((16, 16))


def of_bytes(size: int, number: int = 0) -> Upload:
    picture = picture_of(b"BM" + number.to_bytes(4) + bytes(size - 6))
    assert picture is not None
    return picture


@pytest.fixture
def blobs(redis: Redis) -> RedisBlobs:
    return RedisBlobs(redis)


@pytest.fixture
def uploads(redis: Redis, blobs: RedisBlobs) -> Uploads:
    return Uploads(redis, blobs, ttl_s=100, quota_bytes=1000)


def of_kind(kind: str) -> bytes:
    if kind in ("heic", "heif"):
        brand = b"heic" if kind == "heic" else b"mif1"
        return container(coded(heic("plain")), brand=brand, others=[brand])
    return encoded(SMALL, kind.upper())


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_what_it_begins_as(kind: str) -> None:
    data = of_kind(kind)
    picture = picture_of(data)
    assert picture is not None
    assert (picture.kind, picture.data) == (kind, data)
    assert picture.sha256 == hashlib.sha256(data).hexdigest()
    size = HEIC_SIZE if kind in ("heic", "heif") else SMALL.size
    assert decode(data, 10**6, 10**6).size == size


@pytest.mark.parametrize(
    "data", [b"", b"<svg xmlns=", b"\x00\x00\x00\x1cftypisom", b"RIFF0000WAVE", b"%PDF", b"MZ"]
)
def test_anything_else_is_none(data: bytes) -> None:
    assert picture_of(data) is None


def test_the_quota_holds_for_all_of_a_call_or_none(uploads: Uploads, blobs: RedisBlobs) -> None:
    first, second, third = of_bytes(400, 1), of_bytes(400, 2), of_bytes(201, 3)
    uploads.store("a", [first])
    with pytest.raises(QuotaExceeded, match="would hold 1001 bytes; at most 1000"):
        uploads.store("a", [second, third])
    assert blobs.get(keys.upload_blob(second.sha256)) is None
    uploads.store("a", [second])
    uploads.store("b", [third])  # another owner's room is its own


def test_the_same_picture_is_paid_for_once(uploads: Uploads) -> None:
    for _ in range(5):
        uploads.store("a", [of_bytes(400), of_bytes(400)])
    uploads.store("a", [of_bytes(600, 1)])
    with pytest.raises(QuotaExceeded):
        uploads.store("a", [of_bytes(6, 2)])


def test_room_comes_back_when_a_picture_expires(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = time.time()
    monkeypatch.setattr(time, "time", lambda: begin)
    uploads.store("a", [of_bytes(600, 1)])
    monkeypatch.setattr(time, "time", lambda: begin + 50)
    uploads.store("a", [of_bytes(400, 2)])
    monkeypatch.setattr(time, "time", lambda: begin + 101)
    uploads.store("a", [of_bytes(600, 3)])
    with pytest.raises(QuotaExceeded):
        uploads.store("a", [of_bytes(6, 4)])


def test_uploaded_bytes_live_as_long_as_stated(uploads: Uploads, redis: Redis) -> None:
    expires_at = uploads.store("a", [of_bytes(10)])
    left = redis.pttl("blob:" + keys.upload_blob(of_bytes(10).sha256)) / 1000
    assert 0 < left <= 100
    assert abs(time.time() + left - expires_at) < 2


def test_the_quota_is_exact_when_many_come_at_once(uploads: Uploads) -> None:
    def store(number: int) -> bool:
        try:
            uploads.store("a", [of_bytes(100, number)])
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(store, range(40))) == 10


def test_each_kind_has_its_content_type() -> None:
    assert {f"image/{kind}" for kind in KINDS} == set(KINDS.values())
    assert all(KINDS[kind] == f"image/{kind}" for kind in KINDS)


def test_the_blob_of_an_upload_is_named_after_its_digest() -> None:
    assert keys.upload_blob("ab") == "upload:ab"


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
def test_the_quota_itself_is_allowed(uploads: Uploads, size: int, fits: bool) -> None:
    if fits:
        uploads.store("a", [of_bytes(size)])
        return
    sentence = "would hold 1001 bytes; at most 1000 are allowed, and each lives 100 s"
    with pytest.raises(QuotaExceeded, match=sentence):
        uploads.store("a", [of_bytes(size)])


@pytest.mark.parametrize(("passed_s", "gone"), [(99.5, False), (100, True)])
def test_a_picture_is_paid_for_until_it_expires(
    uploads: Uploads,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    passed_s: float,
    gone: bool,
) -> None:
    begin = float(int(time.time()))
    for moment, number in ((0, 1), (passed_s, 2)):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda at=moment: begin + at))
        uploads.store("a", [of_bytes(300, number)])
    left = [of_bytes(300, number).sha256.encode() for number in ((2,) if gone else (1, 2))]
    assert sorted(redis.zrange("uploads:a:expiry", 0, -1)) == sorted(left)
    assert sorted(redis.hkeys("uploads:a:sizes")) == sorted([*left, b"total"])
    assert redis.hget("uploads:a:sizes", "total") == b"%d" % (300 * len(left))


def test_the_books_expire_with_the_last_picture(uploads: Uploads, redis: Redis) -> None:
    uploads.store("a", [of_bytes(10, 1)])
    for key in ("uploads:a:expiry", "uploads:a:sizes"):
        redis.expire(key, 5)
    uploads.store("a", [of_bytes(10, 1)])  # it lives longer, and so do they
    for key in ("uploads:a:expiry", "uploads:a:sizes"):
        assert 98 <= redis.ttl(key) <= 100


def test_a_refused_upload_takes_no_space(uploads: Uploads, redis: Redis) -> None:
    with pytest.raises(QuotaExceeded):
        uploads.store("a", [of_bytes(600, 1), of_bytes(401, 2)])
    assert redis.keys() == []
