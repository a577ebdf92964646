"""Blobs as objects of a bucket, for workers on several machines. Credentials, region and endpoint
are those that boto3 finds (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, a profile, a role).

An object knows when it expires, and a sorted set in Redis lists all of them by that time, so that
a sweep asks for nothing but what is due.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from redis import Redis

from app.core.errors import BlobsUnavailable
from app.core.redis import keys

log = logging.getLogger(__name__)

_EXPIRES_AT = "expires-at"
_MOST_AT_ONCE = 1000
"""How many objects S3 deletes in one call."""

_CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=50,  # the api's threads
    # Other servers of this protocol do not know the checksums that AWS has by now.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class S3Blobs:
    def __init__(self, bucket: str, prefix: str, redis: Redis) -> None:
        """Connects to nothing yet; raises ValueError when boto3 cannot be set up."""
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._redis = redis
        self._index = keys.s3_index(bucket, prefix)
        try:
            self._s3: Any = boto3.client("s3", config=_CONFIG)
        except BotoCoreError as error:
            raise ValueError(f"BLOB_URL: {error}") from None

    def put(self, name: str, data: bytes, expires_at: float) -> None:
        self._redis.zadd(self._index, {name: expires_at})  # first, so that no object is forgotten
        with _named(self._bucket):
            self._s3.put_object(
                Bucket=self._bucket,
                Key=self._prefix + name,
                Body=data,
                Metadata={_EXPIRES_AT: repr(expires_at)},
            )

    def get(self, name: str) -> bytes | None:
        with _named(self._bucket):
            try:
                found = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + name)
            except ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchKey":
                    return None
                raise
            if float(found["Metadata"][_EXPIRES_AT]) <= time.time():
                found["Body"].close()
                return None
            return cast(bytes, found["Body"].read())

    def delete(self, *names: str) -> None:
        for start in range(0, len(names), _MOST_AT_ONCE):
            some = names[start : start + _MOST_AT_ONCE]
            objects = [{"Key": self._prefix + name} for name in some]
            with _named(self._bucket):
                answer = self._s3.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
                )
            if answer.get("Errors"):
                log.error("blobs in %s: %s", self._bucket, answer["Errors"][0]["Message"])
                raise BlobsUnavailable
            self._redis.zrem(self._index, *some)

    def sweep(self) -> int:
        due = cast(list[bytes], self._redis.zrangebyscore(self._index, "-inf", time.time()))
        self.delete(*(name.decode() for name in due))
        return len(due)


@contextmanager
def _named(bucket: str) -> Iterator[None]:
    """What S3 or the way to it refuses is an error of the infrastructure."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        log.error("blobs in %s: %s", bucket, error)
        raise BlobsUnavailable from error
