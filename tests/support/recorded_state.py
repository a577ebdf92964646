"""The whole state of a server as one small file: Redis key by key, the pictures' folder, SQLite.

Written by scripts/record_state, read by tests/compatibility. Keys are kept as their type, values
and remaining life and not as Redis' own dump, which only the same or a later Redis reads. Knows
nothing of what the keys mean.
"""

from __future__ import annotations

import base64
import json
import lzma
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from redis import Redis

Pairs = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class RecordedState:
    """notes: what the recorder knows of it, JSON. redis: name -> (type, value, remaining ms or -1).
    blobs: path in the folder -> (bytes, remaining s). database: the file of SQLite.
    """

    notes: Mapping[str, Any]
    redis: Mapping[bytes, tuple[str, Any, int]]
    blobs: Mapping[str, tuple[bytes, float]]
    database: bytes

    def save(self, file: Path) -> None:
        content = {
            "notes": self.notes,
            "redis": [
                [_text(name), kind, _coded(value), life]
                for name, (kind, value, life) in sorted(self.redis.items())
            ],
            "blobs": {
                path: [_text(data), life] for path, (data, life) in sorted(self.blobs.items())
            },
            "database": _text(self.database),
        }
        file.write_bytes(lzma.compress(json.dumps(content, indent=0).encode()))

    def into(
        self, redis: Redis, blobs: Path, database: Path, renamed: Mapping[str, str] | None = None
    ) -> None:
        """Lay it into an empty Redis, an empty folder and a file. What had a second to live when
        it was recorded has a second from now on.

        renamed: origins of hosts that were there then -> those that are there now.
        """
        for name, (kind, value, life) in self.redis.items():
            now = _replaced(value, renamed or {})
            _WRITERS[kind](redis, name, now)
            if life >= 0:
                redis.pexpire(name, max(life, 1))
        for path, (data, seconds) in self.blobs.items():
            file = blobs / path
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.write_bytes(data)
            expires_at = time.time() + seconds
            os.utime(file, (expires_at, expires_at))
        database.write_bytes(self.database)


def read_state(file: Path) -> RecordedState:
    content = json.loads(lzma.decompress(file.read_bytes()))
    return RecordedState(
        notes=content["notes"],
        redis={
            base64.b64decode(name): (kind, _decoded(value), life)
            for name, kind, value, life in content["redis"]
        },
        blobs={
            path: (base64.b64decode(data), life) for path, (data, life) in content["blobs"].items()
        },
        database=base64.b64decode(content["database"]),
    )


def record_state(
    notes: Mapping[str, Any], redis: Redis, blobs: Path, database: Path
) -> RecordedState:
    """Everything that is there now; no process may write meanwhile."""
    keys: dict[bytes, tuple[str, Any, int]] = {}
    for name in cast("list[bytes]", list(redis.scan_iter())):
        kind = cast(bytes, redis.type(name)).decode()
        keys[name] = (kind, _READERS[kind](redis, name), redis.pttl(name))
    now = time.time()
    files = {
        str(path.relative_to(blobs)): (path.read_bytes(), path.stat().st_mtime - now)
        for path in blobs.rglob("*")
        if path.is_file()
    }
    return RecordedState(notes, keys, files, database.read_bytes())


def _write_stream(redis: Redis, name: bytes, entries: list[tuple[bytes, Pairs]]) -> None:
    for entry_id, fields in entries:
        redis.xadd(name, cast(Any, dict(fields)), id=entry_id)


_READERS: Mapping[str, Callable[[Any, bytes], Any]] = {
    "string": lambda redis, name: redis.get(name),
    "hash": lambda redis, name: sorted(redis.hgetall(name).items()),
    "list": lambda redis, name: redis.lrange(name, 0, -1),
    "set": lambda redis, name: sorted(redis.smembers(name)),
    "zset": lambda redis, name: [
        (member, repr(score).encode())
        for member, score in redis.zrange(name, 0, -1, withscores=True)
    ],
    "stream": lambda redis, name: [
        (entry_id, list(fields.items())) for entry_id, fields in redis.xrange(name)
    ],
}
_WRITERS: Mapping[str, Callable[[Any, bytes, Any], Any]] = {
    "string": lambda redis, name, value: redis.set(name, value),
    "hash": lambda redis, name, value: redis.hset(name, mapping=dict(value)),
    "list": lambda redis, name, value: redis.rpush(name, *value),
    "set": lambda redis, name, value: redis.sadd(name, *value),
    "zset": lambda redis, name, value: redis.zadd(
        name, {member: float(score) for member, score in value}
    ),
    "stream": _write_stream,
}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _coded(value: Any) -> Any:
    """bytes anywhere in lists and tuples -> base64."""
    return _text(value) if isinstance(value, bytes) else [_coded(part) for part in value]


def _decoded(value: Any) -> Any:
    if isinstance(value, str):
        return base64.b64decode(value)
    return [_decoded(part) for part in value]


def _replaced(value: Any, renamed: Mapping[str, str]) -> Any:
    if not isinstance(value, bytes):
        return [_replaced(part, renamed) for part in value]
    for before, now in renamed.items():
        value = value.replace(before.encode(), now.encode())
    return value
