"""The history, in the shapes that the hosted service's client documents.

Lists finished requests (app.core.history) together with unfinished ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import Caller
from app.api.deps import (
    HistoryDep,
    LinksDep,
    RequestsDep,
    SettingsDep,
    StoredOutputsDep,
)
from app.api.http.origin import public_origin
from app.api.wire.history import (
    Generation,
    Generations,
    HistoryPage,
    RequestRow,
    generation,
    request_row,
)
from app.api.wire.openapi import FOUND, KEYED
from app.core.accounts.api_keys import Key
from app.core.errors import InvalidRequest, NotFound
from app.core.history.base import (
    DAY_S,
    PENDING,
    History,
    HistoryRow,
    Page,
    SortBy,
    rows_of,
)
from app.core.history.base import Query as RowQuery
from app.core.requests.record import ID, Status
from app.core.requests.store import RequestStore
from app.core.storage.stored_outputs import StoredOutputs

router = APIRouter(tags=["history"])

WINDOW_DAYS = 31
DEFAULT_DAYS = 7
RECENT = 20

PageNumber = Annotated[int, Field(ge=1, le=1_000_000)]
ModelName = Annotated[str, Field(max_length=64, pattern=r"^[ -~]*$")]
Owner = Annotated[str, Field(max_length=64)]


EVERY_OWNER = "*"


class HistoryQuery(BaseModel):
    """user_id, user_email: any value but the owner of the key matches no request, except for an
    admin key, which may name any owner, or EVERY_OWNER."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    page: PageNumber = 1
    per_page: int = Field(20, ge=1, le=100)
    from_date: date | None = None
    to_date: date | None = None
    model_name: ModelName = ""
    status: Literal["", "COMPLETED", "FAILED", "PENDING"] = ""
    user_id: Owner = ""
    user_email: Owner = ""
    sort_by: SortBy = "model_created"
    sort_order: Literal["asc", "desc"] = "desc"


class GenerationsQuery(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    page: PageNumber = 1
    model_name: ModelName = ""
    start_date: date | None = None
    end_date: date | None = None
    user_id: Owner = ""


class RecentQuery(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    model_name: Annotated[ModelName, Field(min_length=1)]


@router.get("/inference-request/request-history", responses=KEYED)
def request_history(
    request: Request,
    settings: SettingsDep,
    links: LinksDep,
    history: HistoryDep,
    outputs: StoredOutputsDep,
    requests: RequestsDep,
    caller: Caller,
    selection: Annotated[HistoryQuery, Query()],
) -> HistoryPage:
    """Requests with their inputs, cost and outcome, a row for each picture. What has not ended
    comes first."""
    origin = public_origin(request, settings)
    since, until = _window(selection.from_date, selection.to_date)
    owner = _owner(caller, selection.user_id, selection.user_email)
    query = RowQuery(
        owner=None if owner == EVERY_OWNER else owner,
        since=since,
        until=until,
        model=selection.model_name.lower(),
        status=selection.status,
        sort_by=selection.sort_by,
        descending=selection.sort_order == "desc",
        offset=(selection.page - 1) * selection.per_page,
        limit=selection.per_page,
    )
    rows, total = ([], 0) if owner is None else _page(history, requests, query)
    return {
        "data": [request_row(links, row, origin) for row in _with_files(outputs, rows)],
        "page": selection.page,
        "per_page": selection.per_page,
        "total": total,
        "total_pages": -(-total // selection.per_page),
    }


@router.get("/inference-request/request-history/{request_id}", responses={**KEYED, **FOUND})
def one_request(
    request_id: str,
    request: Request,
    settings: SettingsDep,
    signer: LinksDep,
    history: HistoryDep,
    outputs: StoredOutputsDep,
    requests: RequestsDep,
    caller: Caller,
) -> RequestRow:
    """One request of any age, as its row of the history (that of its first picture)."""
    origin = public_origin(request, settings)
    rows = _rows_of_request(history, requests, caller, request_id)
    if not rows:
        raise NotFound(f"Request {request_id[:64]} not found")
    bodies = [request_row(signer, row, origin) for row in _with_files(outputs, rows)]
    links = [body["generation_url"] for body in bodies]
    return {**bodies[0], "generation_urls": [link for link in links if link is not None]}


@router.get("/inference-request/generations", responses=KEYED)
def generations(
    request: Request,
    settings: SettingsDep,
    links: LinksDep,
    history: HistoryDep,
    outputs: StoredOutputsDep,
    caller: Caller,
    selection: Annotated[GenerationsQuery, Query()],
) -> Generations:
    """The pictures that were made, newest first."""
    origin = public_origin(request, settings)
    since = _day(selection.start_date) if selection.start_date else 0.0
    until = _day(selection.end_date, 1) if selection.end_date else _forever()
    owner = _owner(caller, selection.user_id)
    query = RowQuery(
        owner=None if owner == EVERY_OWNER else owner,
        since=since,
        until=until,
        model=selection.model_name.lower(),
        status=Status.COMPLETED,
        offset=(selection.page - 1) * RECENT,
        limit=RECENT,
    )
    page = Page([], 0) if owner is None else history.page(query)
    return {
        "generations": [generation(links, row, origin) for row in _with_files(outputs, page.rows)],
        "page": selection.page,
        "total": page.total,
        "total_pages": -(-page.total // RECENT),
    }


@router.get("/inference-request/recent-generations", responses=KEYED)
def recent_generations(
    request: Request,
    settings: SettingsDep,
    links: LinksDep,
    history: HistoryDep,
    outputs: StoredOutputsDep,
    caller: Caller,
    selection: Annotated[RecentQuery, Query()],
) -> dict[str, list[Generation]]:
    """The last pictures of a model."""
    origin = public_origin(request, settings)
    query = RowQuery(
        owner=caller.name,
        since=0.0,
        until=_forever(),
        model=selection.model_name.lower(),
        status=Status.COMPLETED,
        limit=RECENT,
    )
    rows = _with_files(outputs, history.page(query).rows)
    return {"generations": [generation(links, row, origin) for row in rows]}


def _owner(caller: Key, *names: str) -> str | None:
    """Whose requests a list has: the caller's, or those of the owner that an admin names, which may
    be EVERY_OWNER. None: the list is empty."""
    owners = set(names) - {""} or {caller.name}
    allowed = len(owners) == 1 and (caller.admin or owners == {caller.name})
    return owners.pop() if allowed else None


def _page(
    history: History, requests: RequestStore, query: RowQuery
) -> tuple[list[HistoryRow], int]:
    """A page of the unfinished requests followed by the finished ones, and the total."""
    open_rows = [row for row in _open_rows(requests, query.owner) if _matches(row, query)]
    shown = open_rows[query.offset : query.offset + query.limit]
    if query.status == PENDING:
        return shown, len(open_rows)
    offset = max(0, query.offset - len(open_rows))
    ended = history.page(replace(query, offset=offset, limit=query.limit - len(shown)))
    return [*shown, *ended.rows], len(open_rows) + ended.total


def _open_rows(requests: RequestStore, owner: str | None) -> list[HistoryRow]:
    return [row for record in requests.unfinished_of(owner) for row in rows_of(record)]


def _matches(row: HistoryRow, query: RowQuery) -> bool:
    in_time = query.since <= row.created_at < query.until
    return in_time and query.status in ("", PENDING) and query.model in row.model


def _rows_of_request(
    history: History, requests: RequestStore, caller: Key, request_id: str
) -> list[HistoryRow]:
    """From the history, or from the record when the history has no rows yet."""
    if not ID.fullmatch(request_id):
        return []
    rows = history.of_request(None if caller.admin else caller.name, request_id)
    if rows:
        return rows
    record = requests.get(request_id)
    if record is None or not (caller.admin or record.owner == caller.name):
        return []
    return rows_of(record)


def _with_files(outputs: StoredOutputs, rows: Sequence[HistoryRow]) -> list[HistoryRow]:
    """The rows. A picture that the quota has removed counts as expired."""
    now = time.time()
    outlived = {
        row.request_id
        for row in rows
        if row.expires_at <= now < (row.picture_expires_at or row.expires_at)
    }
    removed = outlived - outputs.stored(outlived)
    return [
        replace(row, picture_expires_at=None) if row.request_id in removed else row for row in rows
    ]


def _window(first: date | None, last: date | None) -> tuple[float, float]:
    """Unix seconds: the start of the first day and the end of the last, in UTC. Raises
    InvalidRequest."""
    last = last or datetime.now(UTC).date()
    first = first or date.fromordinal(max(1, last.toordinal() - DEFAULT_DAYS))
    if first > last:
        raise InvalidRequest(f"from_date: {first} is after to_date ({last})")
    if (last - first).days > WINDOW_DAYS:
        raise InvalidRequest(
            f"from_date: {first} is more than {WINDOW_DAYS} days before to_date ({last})"
        )
    return _day(first), _day(last, 1)


def _day(day: date, later: int = 0) -> float:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return begin.timestamp() + later * DAY_S


def _forever() -> float:
    return _day(datetime.now(UTC).date(), 2)
