"""The history in Redis: about 1.5 KB for a picture, suited to some hundred thousand pictures.

A row is a string `history:row:ID:OUTPUT` with an expiry. Each owner has a sorted set of its rows by
time. The members hold every field that a query filters or sorts by, so only the rows of the
requested page are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis

from app.core.history.base import DAY_S, HistoryRow, Page, Query, SortBy
from app.core.redis import keys


@dataclass(frozen=True, slots=True)
class _Entry:
    """A member of an owner's sorted set and its score: ID:OUTPUT:STATUS:MODEL:COST."""

    member: str
    created_at: float

    @property
    def row_key(self) -> str:
        request_id, output, _ = self.member.split(":", 2)
        return keys.history_row(request_id, int(output))

    @property
    def status(self) -> str:
        return self.member.split(":")[2]

    @property
    def model(self) -> str:
        return self.member.split(":")[3]

    @property
    def cost(self) -> float:
        return float(self.member.split(":")[4])


_ORDER: dict[SortBy, Callable[[_Entry], Any]] = {
    "model_created": lambda entry: entry.created_at,
    "model_name": lambda entry: (entry.model, entry.created_at),
    "credits_deduction": lambda entry: (entry.cost, entry.created_at),
}


class RedisHistory:
    def __init__(self, redis: Redis, days: int) -> None:
        self._redis = redis
        self._retention_s = days * DAY_S

    def write(self, rows: Sequence[HistoryRow]) -> None:
        oldest = time.time() - self._retention_s
        with self._redis.pipeline(transaction=True) as pipe:
            for row in rows:
                end = int(row.created_at + self._retention_s)
                member = f"{row.request_id}:{row.output}:{row.status}:{row.model}:{row.cost}"
                pipe.set(keys.history_row(row.request_id, row.output), row.to_json(), exat=end)
                pipe.zadd(keys.history_of(row.owner), {member: row.created_at})
            for key in {keys.history_of(row.owner) for row in rows}:
                pipe.zremrangebyscore(key, "-inf", oldest)
                pipe.expire(key, self._retention_s)
            pipe.execute()

    def of_request(self, owner: str | None, request_id: str) -> list[HistoryRow]:
        rows: list[HistoryRow] = []
        while (text := self._redis.get(keys.history_row(request_id, len(rows)))) is not None:
            rows.append(HistoryRow.from_json(cast(bytes, text)))
        return [row for row in rows if owner in (None, row.owner)]

    def page(self, query: Query) -> Page:
        since = max(query.since, time.time() - self._retention_s)
        entries = [
            entry
            for key in self._sorted_sets(query.owner)
            for entry in self._entries(key, since, query.until)
            if query.model in entry.model and query.status in ("", entry.status)
        ]
        # Redis orders members of equal time by their text, so pictures of a request by index.
        entries.sort(key=_ORDER[query.sort_by], reverse=query.descending)
        shown = entries[query.offset : query.offset + query.limit]
        texts = self._redis.mget([entry.row_key for entry in shown]) if shown else []
        rows = [HistoryRow.from_json(text) for text in cast(list[bytes | None], texts) if text]
        return Page(rows, len(entries))

    def _sorted_sets(self, owner: str | None) -> list[str]:
        if owner is not None:
            return [keys.history_of(owner)]
        found = self._redis.scan_iter(match=keys.history_of("*"), count=1000)
        return sorted(key.decode() for key in cast(Iterable[bytes], found))

    def _entries(self, key: str, since: float, until: float) -> list[_Entry]:
        members = cast(
            list[tuple[bytes, float]],
            self._redis.zrangebyscore(key, since, f"({until}", withscores=True),
        )
        return [_Entry(member.decode(), created) for member, created in members]

    def prune(self) -> None:
        """Does nothing: rows expire, and write() drops old members of the sorted sets."""
