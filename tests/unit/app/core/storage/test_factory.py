"""Which store BLOB_URL opens, and which values it may have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from redis import Redis

from app.core.storage.directory import DirectoryBlobs
from app.core.storage.factory import check_blob_url, open_blobs
from app.core.storage.redis import RedisBlobs


@pytest.mark.parametrize("url", ["redis", "file:///srv/blobs", "s3://bucket", "s3://bucket/a/b"])
def test_the_forms_of_the_setting(url: str) -> None:
    assert check_blob_url(url) == url


@pytest.mark.parametrize(
    "url", ["", "file://blobs", "file:///", "s3://", "s3:///x", "s3://b?x=1", "/srv", "redis://x"]
)
def test_other_forms_are_refused_with_the_right_ones(url: str) -> None:
    with pytest.raises(ValueError, match="redis, file:///FOLDER or s3://BUCKET/PREFIX"):
        check_blob_url(url)


def test_the_setting_opens_its_store(redis: Redis, tmp_path: Path) -> None:
    assert isinstance(open_blobs("redis", redis), RedisBlobs)
    assert isinstance(open_blobs(f"file://{tmp_path}/blobs", redis), DirectoryBlobs)


def test_a_missing_library_is_named(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "app.core.storage.s3", raising=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ValueError, match="BLOB_URL names S3, which needs boto3; install the extra"):
        open_blobs("s3://bucket", redis)
