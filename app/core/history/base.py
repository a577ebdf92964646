"""The history of finished requests: rows without pictures, kept for HISTORY_DAYS, by owner.

Owns the fields of a row and of a query. The two stores are redis.py and sql.py beside this file;
DATABASE_URL selects one (open_history). Does not know HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit, urlunsplit

from app.core.requests.record import RequestRecord, Status
from app.core.requests.types import Output, Source
from app.core.stored_json import from_dict, to_dict

MODEL = "flux-controlnet"
PENDING: Final = "PENDING"
"""The hosted service's word, in lists, for a request that has not ended."""

RowStatus = Literal["COMPLETED", "FAILED", "PENDING"]
_ENDS: dict[Status, RowStatus] = {Status.COMPLETED: "COMPLETED", Status.FAILED: "FAILED"}

TEXT_MAX = 2000
"""Longer prompts and URLs are cut to this number of characters."""
DAY_S = 86400


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One picture of a request, or the request itself when it has no picture.

    output: the index of the picture, from 0. status: COMPLETED or FAILED, or PENDING for a request
    that is listed but not stored. cost: credits of the whole request, in each of its rows. inputs:
    the parameters, texts cut to TEXT_MAX; a picture is a URL without its query, which may hold
    secrets, or the kind of the source in parentheses. picture: stored as `made`.
    picture_expires_at: None in a row of an older version, whose pictures expire with the record.
    Times are Unix seconds.
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
    picture: Output | None
    inference_s: float | None
    queue_s: float
    work: float | None
    evaluations: int
    profile: str
    picture_expires_at: float | None = None

    def to_json(self) -> str:
        values = to_dict(self)
        del values["picture"]
        return json.dumps(values | {"made": self.picture and self.picture.to_dict()})

    @classmethod
    def from_json(cls, text: str | bytes) -> HistoryRow:
        values = json.loads(text)
        picture = values.pop("made", None)
        return from_dict(cls, values | {"picture": picture and Output.from_dict(picture)})


SortBy = Literal["model_created", "model_name", "credits_deduction"]


@dataclass(frozen=True, slots=True)
class Query:
    """Selects rows of an owner (None: of all) and their order. since <= created_at < until; model
    is a part of the model's name; an empty text is no filter.
    """

    owner: str | None
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
    """total: the number of rows that match the query, without its offset and limit."""

    rows: Sequence[HistoryRow]
    total: int


class History(Protocol):
    """Every method raises RedisError or HistoryUnavailable when the store cannot be reached."""

    def write(self, rows: Sequence[HistoryRow]) -> None:
        """Store the rows. Writing a row twice changes nothing."""

    def of_request(self, owner: str | None, request_id: str) -> list[HistoryRow]:
        """All rows of a request of this owner, None for any, ordered by output; empty when there
        is none."""

    def page(self, query: Query) -> Page:
        """The page of finished requests that the query selects."""

    def prune(self) -> None:
        """Delete rows older than HISTORY_DAYS, which no query returns anyway."""


def rows_of(record: RequestRecord) -> list[HistoryRow]:
    """One row for each picture of a request; one row when it has no picture."""
    pictures: Sequence[Output | None] = record.outputs or (None,)
    return [_row(record, index, picture) for index, picture in enumerate(pictures)]


def _row(record: RequestRecord, index: int, picture: Output | None) -> HistoryRow:
    return HistoryRow(
        request_id=record.id,
        output=index,
        owner=record.owner,
        model=MODEL,
        status=_ENDS.get(record.status, PENDING),
        created_at=record.created_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
        expires_at=record.expires_at,
        cost=record.cost if record.status is Status.COMPLETED else 0.0,
        error=record.error if record.status is Status.FAILED else None,
        inputs=_inputs(record),
        picture=picture,
        inference_s=record.inference_s,
        queue_s=record.queue_s,
        work=record.work,
        evaluations=record.evaluations,
        profile=record.profile,
        picture_expires_at=record.files_expire_at,
    )


def _inputs(record: RequestRecord) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        name: value[:TEXT_MAX] if isinstance(value, str) else value
        for name, value in record.params.to_body().items()
    }
    pictures = {source.field: _image(source) for source in record.sources}
    controls = [
        {**control, **_of_element(pictures, f"controls[{index}].")}
        for index, control in enumerate(inputs.pop("controls", ()))
    ]
    of_request = {name: of for name, of in pictures.items() if not name.startswith("controls[")}
    return {**of_request, **inputs, **({"controls": controls} if controls else {})}


def _of_element(pictures: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The pictures of one element of `controls`, by their names in it."""
    return {
        name.removeprefix(prefix): picture
        for name, picture in pictures.items()
        if name.startswith(prefix)
    }


def _image(source: Source) -> str:
    if source.url is None:
        return f"({source.kind})"
    try:
        parts = urlsplit(source.url)
        host = parts.netloc.rpartition("@")[2]  # drops user name and password
        return urlunsplit(parts._replace(netloc=host, query="", fragment=""))[:TEXT_MAX]
    except ValueError:  # not a URL, which is why the request failed
        return "(url)"
