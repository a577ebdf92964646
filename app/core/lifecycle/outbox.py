"""The outbox: requests that have ended and whose end has not been reported to every listener yet.

The end of a request and its entry here are one Lua call (app/core/lua/transitions). An entry holds
the whole record, so nothing is lost when a process dies or the record expires in between. The
notifier (worker/completion_notifier.py) removes an entry afterwards: listeners are called at least
once, and must be idempotent.
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
        """Of all that have ended and not been taken out."""
        return [one.decode() for one in cast(list[bytes], self._redis.hkeys(OUTBOX))]

    def read(self, ids: Sequence[str]) -> list[RequestRecord]:
        """These as they ended, without those that somebody has taken out meanwhile, and without
        any that cannot be read: it would keep the others from being told for ever."""
        found = cast(list[bytes | None], self._redis.hmget(OUTBOX, list(ids)))
        entries = ((one, text) for one, text in zip(ids, found, strict=True) if text is not None)
        records = (_record(request_id, text) for request_id, text in entries)
        return [record for record in records if record is not None]

    def take_out(self, ids: Sequence[str]) -> None:
        """Everybody has been told of these."""
        self._redis.hdel(OUTBOX, *ids)


def _record(request_id: str, text: bytes) -> RequestRecord | None:
    try:
        flat = json.loads(text)
        return record_from(request_id, dict(zip(flat[::2], flat[1::2], strict=True)))
    except (KeyError, ValueError):
        log.exception("request %s: its end cannot be read; nobody is told", request_id)
        return None
