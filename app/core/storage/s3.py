"""Blobs as objects of an S3 bucket, for workers on several machines. boto3 finds the credentials,
the region and the endpoint (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, a profile, a role).

The expiry of an object is in its metadata. A sorted set in Redis indexes all objects by expiry, so
a sweep reads only what is due.
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
_MAX_DELETE = 1000
"""Objects that S3 deletes in one call."""

_CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=50,  # the api's threads
    # Other S3 servers do not support the newer checksums of AWS.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class S3Blobs:
    def __init__(self, bucket: str, prefix: str, redis: Redis) -> None:
        """Does not connect yet. Raises ValueError if boto3 cannot be set up."""
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._redis = redis
        self._index = keys.s3_index(bucket, prefix)
        try:
            self._s3: Any = boto3.client("s3", config=_CONFIG)
        except BotoCoreError as error:
            raise ValueError(f"BLOB_URL: {error}") from None

    def put(self, name: str, data: bytes, expires_at: float) -> None:
        self._redis.zadd(self._index, {name: expires_at})  # first, so that it lists every object
        with _translated_errors(self._bucket):
            self._s3.put_object(
                Bucket=self._bucket,
                Key=self._prefix + name,
                Body=data,
                Metadata={_EXPIRES_AT: repr(expires_at)},
            )

    def get(self, name: str) -> bytes | None:
        with _translated_errors(self._bucket):
            try:
                response = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + name)
            except ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchKey":
                    return None
                raise
            if float(response["Metadata"][_EXPIRES_AT]) <= time.time():
                response["Body"].close()
                return None
            return cast(bytes, response["Body"].read())

    def delete(self, *names: str) -> None:
        for start in range(0, len(names), _MAX_DELETE):
            batch = names[start : start + _MAX_DELETE]
            objects = [{"Key": self._prefix + name} for name in batch]
            with _translated_errors(self._bucket):
                response = self._s3.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
                )
            if response.get("Errors"):
                log.error("blobs in %s: %s", self._bucket, response["Errors"][0]["Message"])
                raise BlobsUnavailable
            self._redis.zrem(self._index, *batch)

    def sweep(self) -> int:
        due = cast(list[bytes], self._redis.zrangebyscore(self._index, "-inf", time.time()))
        self.delete(*(name.decode() for name in due))
        return len(due)

    def free_bytes(self) -> int | None:
        return None


@contextmanager
def _translated_errors(bucket: str) -> Iterator[None]:
    """Turn an error of S3 or of the network into BlobsUnavailable."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        log.error("blobs in %s: %s", bucket, error)
        raise BlobsUnavailable from error
