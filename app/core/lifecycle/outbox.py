"""The outbox: ended requests of which history and webhooks have not been notified yet.

One Lua call ends a request and adds its entry (app/core/lua/transitions). An entry contains the
whole record, so nothing is lost if a process dies or the record expires. The notifier
(worker/completion_notifier.py) removes an entry after the notification: delivery is at-least-once,
so listeners must be idempotent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import cast

from redis import Redis

from app.core.redis.keys import OUTBOX
from app.core.requests.record import RequestRecord, record_from

log = logging.getLogger(__name__)


class Outbox:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def __len__(self) -> int:
        return self._redis.hlen(OUTBOX)

    def ids(self) -> list[str]:
        """The request ids of all entries."""
        return [name.decode() for name in cast(list[bytes], self._redis.hkeys(OUTBOX))]

    def read(self, ids: Sequence[str]) -> list[RequestRecord]:
        """The records of these entries. Skips removed entries, and unreadable ones, which would
        block all others for ever."""
        texts = cast(list[bytes | None], self._redis.hmget(OUTBOX, list(ids)))
        entries = zip(ids, texts, strict=True)
        records = (_record(request_id, text) for request_id, text in entries if text is not None)
        return [record for record in records if record is not None]

    def remove(self, ids: Sequence[str]) -> None:
        """Remove entries whose listeners have all been notified."""
        self._redis.hdel(OUTBOX, *ids)


def _record(request_id: str, text: bytes) -> RequestRecord | None:
    try:
        flat = json.loads(text)
        return record_from(request_id, dict(zip(flat[::2], flat[1::2], strict=True)))
    except (KeyError, TypeError, ValueError):
        log.exception("request %s: unreadable outbox entry; no listener is notified", request_id)
        return None
