"""The request record: its fields, its words for where it stands, and how it is read from Redis.

Owns what a hash `req:ID` means. Changes nothing: requests.py does, with the scripts.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from app.core.accounts.credits import to_credits


class Status(StrEnum):
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED)


class Stage(IntEnum):
    """The jobs of a request, in order; the number is what the record holds.

    A request begins with FETCH when its picture is on another server, else with PREPARE.
    """

    FETCH = 0
    PREPARE = 1
    GENERATE = 2
    FINISH = 3

    @property
    def next(self) -> Stage:
        return Stage(self + 1)


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as it was when read. Times are Unix seconds; None means not yet.

    cost: in credits, 0 until its size is known. remaining: what the key had left when the request
    had COMPLETED; None for a key without a budget.
    """

    id: str
    owner: str
    status: Status
    params: Mapping[str, Any]
    source: Mapping[str, str]
    created_at: float
    expires_at: float
    started_at: float | None = None
    ended_at: float | None = None
    step: int = 0
    steps: int = 0
    width: int | None = None
    height: int | None = None
    work: float | None = None
    annotated: bool = False
    stage: Stage = Stage.PREPARE
    error: str | None = None
    error_status: int = 500
    outputs: tuple[Mapping[str, Any], ...] = ()
    inference_s: float | None = None
    evaluations: int = 0
    controlled: int = 0
    profile: str = "exact"
    predicted_s: float | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)
    webhook: Mapping[str, str] | None = None
    key: str = ""
    price: float = 0.0
    cost: float = 0.0
    remaining: float | None = None
    control_map: Mapping[str, Any] | None = None
    made_with: Mapping[str, Any] = field(default_factory=dict)

    @property
    def only_map(self) -> bool:
        """What was asked for is the control map and no picture made with it."""
        return bool(self.params.get("only_map"))

    @property
    def queue_s(self) -> float:
        """Seconds between acceptance and the moment a gpu worker began (or the end, or now)."""
        return (self.started_at or self.ended_at or time.time()) - self.created_at

    @property
    def total_s(self) -> float:
        return (self.ended_at or time.time()) - self.created_at


ID = re.compile("[0-9a-f]{32}")
"""What every id of a request looks like."""


def record_from(request_id: str, fields: Mapping[str, str]) -> RequestRecord | None:
    """The record that a hash of Redis is, or None when there is none."""
    if "status" not in fields:  # nothing at all, or a rest that expired between two commands
        return None

    def number(name: str) -> float | None:
        return float(fields[name]) if name in fields else None

    def integer(name: str) -> int | None:
        return int(fields[name]) if name in fields else None

    remaining = integer("remaining")

    return RequestRecord(
        id=request_id,
        owner=fields["owner"],
        status=Status(fields["status"]),
        params=json.loads(fields["params"]),
        source=json.loads(fields["source"]),
        created_at=float(fields["created_at"]),
        expires_at=float(fields["expires_at"]),
        started_at=number("started_at"),
        ended_at=number("ended_at"),
        step=integer("step") or 0,
        steps=integer("steps") or 0,
        width=integer("width"),
        height=integer("height"),
        work=number("work"),
        annotated=fields.get("annotated") == "true",
        stage=Stage(int(fields["stage"])),
        error=fields.get("error"),
        error_status=integer("error_status") or 500,
        outputs=tuple(json.loads(fields.get("outputs", "[]"))),
        inference_s=number("inference_s"),
        evaluations=integer("evaluations") or 0,
        controlled=integer("controlled") or 0,
        profile=fields.get("profile", "exact"),
        predicted_s=number("predicted_s"),
        kept=json.loads(fields.get("kept", "{}")),
        webhook=json.loads(fields.get("webhook", "null")),
        key=fields.get("key", ""),
        price=number("price") or 0.0,
        cost=to_credits(integer("cost") or 0),
        remaining=None if remaining is None else to_credits(remaining),
        control_map=json.loads(fields.get("control_map", "null")),
        made_with=json.loads(fields.get("made_with", "{}")),
    )
