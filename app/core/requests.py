"""The request record and its state machine.

Owns what Redis holds of a request (a hash `req:ID`, a stream of events `req:ID:events`, its place
among the unfinished ones, its end in the outbox) and every change of it. Does not queue jobs, does
not know HTTP or what a picture is.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, cast

from redis import Redis

from app.core import scripts
from app.core.credits import to_credits
from app.core.errors import InsufficientCredits, OutOfCredits, RequestFailed
from app.core.telemetry import tracing
from app.core.telemetry.counters import COUNTERS


class Status(StrEnum):
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED)


class Stage(IntEnum):
    """The three jobs of a request, in order; the number is what the record holds."""

    PREPARE = 1
    GENERATE = 2
    FINISH = 3

    @property
    def next(self) -> Stage:
        return Stage(self + 1)


class Claim(StrEnum):
    """What a worker that wants to run a stage is told."""

    CLAIMED = "claimed"
    AHEAD = "ahead"
    ENDED = "ended"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Account:
    """On whose account a request goes: the id of a key, credits for a unit of work, what to reserve
    of the key's budget (billionths of a credit), and how many of the key's requests may be in
    flight (None: any number)."""

    key: str = ""
    price: float = 0.0
    reserved: int = 0
    concurrency: int | None = None


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


def record_key(request_id: str) -> str:
    return f"req:{request_id}"


def events_key(request_id: str) -> str:
    return f"req:{request_id}:events"


UNFINISHED = "requests:unfinished"
"""Sorted set in Redis: ids of the requests that have not ended, oldest first."""

ENDED = "requests:ended"
"""Hash in Redis, read by app.core.outbox: id -> the record as it ended, until all were told."""


_NOBODYS = Account()


class RequestStore:
    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        register = redis.register_script
        self._submit = register(scripts.SUBMIT)
        self._claim = register(scripts.CLAIM)
        self._charge = register(scripts.CHARGE)
        self._advance = register(scripts.ADVANCE)
        self._progress = register(scripts.PROGRESS)
        self._keep = register(scripts.KEEP)
        self._complete = register(scripts.COMPLETE)
        self._fail = register(scripts.FAIL)
        self._forget = register(scripts.FORGET)
        self._strike_off = register(scripts.STRIKE_OFF)

    def expiry(self) -> float:
        """When a request submitted now expires."""
        return float(int(time.time()) + self._ttl_s)

    def submit(
        self,
        request_id: str,
        owner: str,
        params: Mapping[str, Any],
        source: Mapping[str, str],
        expires_at: float,
        webhook: Mapping[str, str] | None = None,
        account: Account = _NOBODYS,
    ) -> None:
        """Write a new QUEUED record. The id must be new. Raises InsufficientCredits."""
        fields = {"owner": owner, "params": json.dumps(params), "source": json.dumps(source)}
        fields["price"] = repr(account.price)
        if account.concurrency is not None:
            fields["concurrency"] = str(account.concurrency)
        fields |= tracing.carrier()
        if webhook is not None:
            fields["webhook"] = json.dumps(webhook)
        reserved = str(account.reserved)
        expiry = str(int(expires_at))
        answer = self._run(self._submit, request_id, expiry, account.key, reserved, *_flat(fields))
        if isinstance(answer, bytes):
            raise InsufficientCredits(to_credits(int(answer)), to_credits(account.reserved))

    def get(self, request_id: str) -> RequestRecord | None:
        """The record, or None when it is unknown or expired."""
        raw = cast(dict[bytes, bytes], self._redis.hgetall(record_key(request_id)))
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        return record_from(request_id, fields)

    def claim(self, request_id: str, stage: Stage, execution: str) -> Claim:
        """Take the right to run `stage`; any earlier execution loses it."""
        processing = "1" if stage is Stage.GENERATE else "0"
        answer = self._run(self._claim, request_id, str(int(stage)), execution, processing)
        return Claim(answer.decode())

    def charge(self, request_id: str, execution: str, cost: int) -> bool:
        """Say what the request costs, in billionths of a credit; that much is reserved from now on.

        False: not ours any more. Raises OutOfCredits when the key has not got as much.
        """
        answer = self._run(self._charge, request_id, execution, str(cost))
        if isinstance(answer, bytes):
            raise OutOfCredits(to_credits(int(answer)), to_credits(cost))
        return bool(answer)

    def advance(
        self, request_id: str, stage: Stage, execution: str, fields: Mapping[str, Any]
    ) -> bool:
        """Store what `stage` found and open the next one. False: not ours any more."""
        flat = _flat(fields)
        return bool(self._run(self._advance, request_id, execution, str(int(stage)), *flat))

    def progress(self, request_id: str, execution: str, step: int, steps: int) -> bool:
        """Record step k of n. False: this execution has lost the request and should stop."""
        return bool(self._run(self._progress, request_id, execution, str(step), str(steps)))

    def keep(self, request_id: str, execution: str, kept: Mapping[str, Any]) -> bool:
        """Note what of this execution's work a later one can go on with. False: not ours."""
        return bool(self._run(self._keep, request_id, execution, json.dumps(kept)))

    def complete(self, request_id: str, execution: str, fields: Mapping[str, Any]) -> bool:
        return bool(self._run(self._complete, request_id, execution, *_flat(fields)))

    def fail(
        self,
        request_id: str,
        error: RequestFailed,
        execution: str = "",
        only_queued: bool = False,
    ) -> bool:
        """End the request as FAILED. Without an execution it is failed whoever holds it."""
        only = "1" if only_queued else "0"
        status = str(error.v1_status)
        said = (error.text, status, type(error).__name__)
        return bool(self._run(self._fail, request_id, execution, only, *said))

    def forget(self, request_id: str) -> None:
        """Remove a record whose submission could not be carried through."""
        self._run(self._forget, request_id)

    def unfinished(self) -> dict[str, Stage]:
        """Every request that has not ended, oldest first, and the stage it waits for or is in.

        Strikes off those whose records have expired.
        """
        ids = [one.decode() for one in cast(list[bytes], self._redis.zrange(UNFINISHED, 0, -1))]
        with self._redis.pipeline(transaction=False) as pipe:
            for request_id in ids:
                pipe.hget(record_key(request_id), "stage")
            stages = dict(zip(ids, pipe.execute(), strict=True))
        expired = [one for one, stage in stages.items() if stage is None]
        if expired:
            self._strike_off(keys=[UNFINISHED, COUNTERS], args=expired)
        return {one: Stage(int(stage)) for one, stage in stages.items() if stage is not None}

    def unfinished_of(self, owner: str) -> list[RequestRecord]:
        """An owner's requests that have not ended, newest first."""
        ids = [one.decode() for one in cast(list[bytes], self._redis.zrevrange(UNFINISHED, 0, -1))]
        with self._redis.pipeline(transaction=False) as pipe:
            for request_id in ids:
                pipe.hget(record_key(request_id), "owner")
            owners = pipe.execute()
        own = [one for one, name in zip(ids, owners, strict=True) if name == owner.encode()]
        records = (self.get(request_id) for request_id in own)
        return [record for record in records if record is not None and not record.status.terminal]

    def _run(self, script: Any, request_id: str, *args: str) -> Any:
        now = repr(time.time())
        keys = [record_key(request_id), events_key(request_id), UNFINISHED, ENDED, COUNTERS]
        return script(keys=keys, args=[now, *args])


def _flat(fields: Mapping[str, Any]) -> list[str]:
    flat = []
    for name, value in fields.items():
        flat += [name, value if isinstance(value, str) else json.dumps(value)]
    return flat


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
