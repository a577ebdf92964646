"""A client of server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Event:
    """A parsed event. id: "" when it has none."""

    id: str
    name: str
    data: dict[str, Any]


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Parse the lines of a stream into events, as they arrive."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Event(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
            fields = {}


@contextmanager
def events(
    http: httpx.Client, request_id: str, after: str | None = None
) -> Iterator[Iterator[Event]]:
    """The open stream of a request's events, after the one with this id."""
    headers = {} if after is None else {"last-event-id": after}
    with http.stream("GET", f"/v2/requests/{request_id}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield parse(answer.iter_lines())


def all_events(http: httpx.Client, request_id: str, after: str | None = None) -> list[Event]:
    """Every event to the end of the stream."""
    with events(http, request_id, after) as stream:
        return list(stream)
