"""The history and the list of models, in the shapes that the hosted service's client documents.

Reads what app.core.history.base keeps, and shows with it what has not ended yet.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import Caller, authenticate
from app.api.deps import Services, ServicesDep
from app.api.http.origin import public_origin
from app.api.wire.history import (
    Generation,
    Generations,
    HistoryPage,
    Models,
    RequestRow,
    generation,
    models_list,
    request_row,
)
from app.api.wire.openapi import FOUND, KEYED
from app.core.accounts.api_keys import Key
from app.core.errors import InvalidRequest, NotFound
from app.core.history import base as history
from app.core.history.base import PENDING, HistoryRow, SortBy, rows_of
from app.core.requests.record import ID, Status

router = APIRouter(tags=["history"])

WINDOW_DAYS = 31
DEFAULT_DAYS = 7
RECENT = 20

PageNumber = Annotated[int, Field(ge=1, le=1_000_000)]
ModelName = Annotated[str, Field(max_length=64, pattern=r"^[ -~]*$")]
Owner = Annotated[str, Field(max_length=64)]


class HistoryQuery(BaseModel):
    """user_id and user_email: only the owner of the key has requests that the key may see."""

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
    services: ServicesDep,
    caller: Caller,
    asked: Annotated[HistoryQuery, Query()],
) -> HistoryPage:
    """Requests with their inputs, cost and outcome, a row for each picture. What has not ended
    comes first."""
    origin = public_origin(request, services.settings)
    since, until = _window(asked.from_date, asked.to_date)
    query = history.Query(
        owner=caller.name,
        since=since,
        until=until,
        model=asked.model_name.lower(),
        status=asked.status,
        sort_by=asked.sort_by,
        descending=asked.sort_order == "desc",
        offset=(asked.page - 1) * asked.per_page,
        limit=asked.per_page,
    )
    others = {asked.user_id, asked.user_email} - {"", caller.name}
    rows, total = ([], 0) if others else _page(services, query)
    return {
        "data": [request_row(services.links, row, origin) for row in rows],
        "page": asked.page,
        "per_page": asked.per_page,
        "total": total,
        "total_pages": -(-total // asked.per_page),
    }


@router.get("/inference-request/request-history/{request_id}", responses={**KEYED, **FOUND})
def one_request(
    request_id: str, request: Request, services: ServicesDep, caller: Caller
) -> RequestRow:
    """One request of any age, as its row of the history (that of its first picture)."""
    origin = public_origin(request, services.settings)
    rows = _rows_of_request(services, caller, request_id)
    if not rows:
        raise NotFound(f"Request {request_id[:64]} not found")
    made = [request_row(services.links, row, origin) for row in rows]
    links = [row["generation_url"] for row in made]
    return {**made[0], "generation_urls": [link for link in links if link is not None]}


@router.get("/inference-request/generations", responses=KEYED)
def generations(
    request: Request,
    services: ServicesDep,
    caller: Caller,
    asked: Annotated[GenerationsQuery, Query()],
) -> Generations:
    """The pictures that were made, newest first."""
    origin = public_origin(request, services.settings)
    since = _day(asked.start_date) if asked.start_date else 0.0
    until = _day(asked.end_date, 1) if asked.end_date else _forever()
    query = history.Query(
        owner=caller.name,
        since=since,
        until=until,
        model=asked.model_name.lower(),
        status=Status.COMPLETED,
        offset=(asked.page - 1) * RECENT,
        limit=RECENT,
    )
    foreign = asked.user_id not in ("", caller.name)
    page = history.Page([], 0) if foreign else services.history.page(query)
    return {
        "generations": [generation(services.links, row, origin) for row in page.rows],
        "page": asked.page,
        "total": page.total,
        "total_pages": -(-page.total // RECENT),
    }


@router.get("/inference-request/recent-generations", responses=KEYED)
def recent_generations(
    request: Request,
    services: ServicesDep,
    caller: Caller,
    asked: Annotated[RecentQuery, Query()],
) -> dict[str, list[Generation]]:
    """The last pictures of a model."""
    origin = public_origin(request, services.settings)
    query = history.Query(
        owner=caller.name,
        since=0.0,
        until=_forever(),
        model=asked.model_name.lower(),
        status=Status.COMPLETED,
        limit=RECENT,
    )
    rows = services.history.page(query).rows
    return {"generations": [generation(services.links, row, origin) for row in rows]}


@router.get(
    "/inference-model-information/list", responses=KEYED, dependencies=[Depends(authenticate)]
)
async def models() -> Models:
    """The models of this server."""
    return models_list()


def _page(services: Services, query: history.Query) -> tuple[list[HistoryRow], int]:
    """A page of what has not ended and, after it, of what has."""
    open_rows = [row for row in _open_rows(services, query.owner) if _is_asked_for(row, query)]
    shown = open_rows[query.offset : query.offset + query.limit]
    if query.status == PENDING:
        return shown, len(open_rows)
    offset = max(0, query.offset - len(open_rows))
    ended = services.history.page(replace(query, offset=offset, limit=query.limit - len(shown)))
    return [*shown, *ended.rows], len(open_rows) + ended.total


def _open_rows(services: Services, owner: str) -> list[HistoryRow]:
    return [row for record in services.requests.unfinished_of(owner) for row in rows_of(record)]


def _is_asked_for(row: HistoryRow, query: history.Query) -> bool:
    in_time = query.since <= row.created_at < query.until
    return in_time and query.status in ("", PENDING) and query.model in row.model


def _rows_of_request(services: Services, caller: Key, request_id: str) -> list[HistoryRow]:
    """From the history; or from the record, when it is not there yet."""
    if not ID.fullmatch(request_id):
        return []
    rows = services.history.of_request(caller.name, request_id)
    if rows:
        return rows
    record = services.requests.get(request_id)
    return rows_of(record) if record is not None and record.owner == caller.name else []


def _window(first: date | None, last: date | None) -> tuple[float, float]:
    """From the begin of the first day to the end of the last, in UTC. Raises InvalidRequest."""
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
    return begin.timestamp() + later * history.DAY_S


def _forever() -> float:
    return _day(datetime.now(UTC).date(), 2)
