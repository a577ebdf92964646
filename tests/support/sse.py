"""Server-sent events as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Told:
    """id: "" when the event has none."""

    id: str
    name: str
    data: dict[str, Any]


def told(lines: Iterable[str]) -> Iterator[Told]:
    """The events in the lines of a stream, as they come."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Told(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
            fields = {}


@contextmanager
def events(
    http: httpx.Client, request_id: str, after: str | None = None
) -> Iterator[Iterator[Told]]:
    """The open stream of a request's events, after the one with this id."""
    headers = {} if after is None else {"last-event-id": after}
    with http.stream("GET", f"/v2/requests/{request_id}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield told(answer.iter_lines())


def all_events(http: httpx.Client, request_id: str, after: str | None = None) -> list[Told]:
    """Every event to the end of the stream."""
    with events(http, request_id, after) as stream:
        return list(stream)
