"""What is kept of finished requests: rows without pictures, for HISTORY_DAYS, owner by owner.

Owns what a row holds and what can be asked; the two stores are redis_history.py and sql_history.py,
and DATABASE_URL says which (open_history). Does not know HTTP, nor who writes.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit, urlunsplit

from redis import Redis

from app.core.requests.record import RequestRecord, Status
from app.core.stored_json import from_stored

MODEL = "flux-controlnet"
PENDING: Final = "PENDING"
"""The hosted service's word, in lists, for what has not ended."""

RowStatus = Literal["COMPLETED", "FAILED", "PENDING"]
_ENDS: dict[Status, RowStatus] = {Status.COMPLETED: "COMPLETED", Status.FAILED: "FAILED"}

TEXT_MAX = 2000
"""Characters that are kept of a prompt or a URL."""
DAY_S = 86400


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One picture of a request, or the request itself when it has made none.

    output: the picture's number, from 0. status: COMPLETED or FAILED, or PENDING for one that is
    shown but not stored. cost: credits of the whole request, in each of its rows. inputs: the
    parameters, texts cut to TEXT_MAX; `image` is a URL without its query, which may hold secrets,
    or says how the picture came. made: file_name, content_type, file_size, width, height, seed of
    the picture. Times are Unix seconds.
    """

    request_id: str
    output: int
    owner: str
    model: str
    status: RowStatus
    created_at: float
    started_at: float | None
    ended_at: float | None
    expires_at: float
    cost: float
    error: str | None
    inputs: Mapping[str, Any]
    made: Mapping[str, Any] | None
    inference_s: float | None
    queue_s: float
    work: float | None
    evaluations: int
    profile: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> HistoryRow:
        return from_stored(cls, text)


SortBy = Literal["model_created", "model_name", "credits_deduction"]


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows of an owner, in which order. since <= created_at < until; model is a part of the
    model's name; an empty text is no filter.
    """

    owner: str
    since: float
    until: float
    model: str = ""
    status: str = ""
    sort_by: SortBy = "model_created"
    descending: bool = True
    offset: int = 0
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Page:
    """total: how many rows the query has without its offset and limit."""

    rows: Sequence[HistoryRow]
    total: int


class History(Protocol):
    """Every method raises RedisError or HistoryUnavailable when the store cannot be reached."""

    def write(self, rows: Sequence[HistoryRow]) -> None:
        """Keep these. Writing a row again changes nothing."""

    def of_request(self, owner: str, request_id: str) -> list[HistoryRow]:
        """All rows of an owner's request by their output; empty when there is none."""

    def page(self, query: Query) -> Page:
        """Rows of finished requests."""

    def prune(self) -> None:
        """Forget what is older than it may be; nobody sees it in any case."""


def rows_of(record: RequestRecord) -> list[HistoryRow]:
    """What is kept of a request, as many rows as it has pictures, at least one."""
    return [_row(record, number, made) for number, made in enumerate(record.outputs or (None,))]


def _row(record: RequestRecord, number: int, made: Mapping[str, Any] | None) -> HistoryRow:
    return HistoryRow(
        request_id=record.id,
        output=number,
        owner=record.owner,
        model=MODEL,
        status=_ENDS.get(record.status, PENDING),
        created_at=record.created_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
        expires_at=record.expires_at,
        cost=record.cost if record.status is Status.COMPLETED else 0.0,
        error=record.error if record.status is Status.FAILED else None,
        inputs={record.source.get("field", "image"): _image(record.source), **_asked(record)},
        made=made,
        inference_s=record.inference_s,
        queue_s=record.queue_s,
        work=record.work,
        evaluations=record.evaluations,
        profile=record.profile,
    )


def _asked(record: RequestRecord) -> dict[str, Any]:
    """The parameters as they could be sent again: no profile where none was named."""
    return {
        name: value[:TEXT_MAX] if isinstance(value, str) else value
        for name, value in record.params.items()
        if name != "profile" or value
    }


def _image(source: Mapping[str, str]) -> str:
    if "url" not in source:
        return f"({source.get('kind', 'unknown')})"
    try:
        parts = urlsplit(source["url"])
        host = parts.netloc.rpartition("@")[2]  # a password may stand before it
        return urlunsplit(parts._replace(netloc=host, query="", fragment=""))[:TEXT_MAX]
    except ValueError:  # it was no URL, which is why the request failed
        return "(url)"


def open_history(database_url: str, redis: Redis, days: int) -> History:
    """The store that DATABASE_URL names; connects to no database yet."""
    if database_url:
        from app.core.history.sql import SqlHistory

        return SqlHistory(database_url, days)
    from app.core.history.redis import RedisHistory

    return RedisHistory(redis, days)


def check_database_url(url: str) -> str:
    """`url` when it is empty or one of the two forms; ValueError with what is wrong otherwise."""
    if not url:
        return url
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parts = make_url(url)
    except ArgumentError:
        raise ValueError("is not a database URL") from None
    if parts.drivername == "sqlite":
        if not parts.database or not Path(parts.database).absolute().parent.is_dir():
            raise ValueError("sqlite needs a file in a folder that exists: sqlite:////FOLDER/FILE")
    elif parts.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ValueError("must be sqlite:////FOLDER/FILE or postgresql://USER:PASSWORD@HOST/NAME")
    elif importlib.util.find_spec("psycopg") is None:
        raise ValueError("names PostgreSQL, which needs psycopg; install the extra postgres")
    return url
