"""The request store: the state machine of a request. Each change of a record is one Lua script.

Owns what Redis holds of a request besides its hash: the stream of events `req:ID:events`, its entry
among the unfinished requests, its entry in the outbox. Queues no jobs; knows neither HTTP nor
pictures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from redis import Redis

from app.core.accounts.credits import to_credits
from app.core.errors import InsufficientCredits, OutOfCredits, RequestFailed
from app.core.lua import script
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage, record_from
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.types import GenerationParameters, SavedWork, Source, WebhookTarget
from app.core.requests.warnings import RequestWarning, warnings_to_json
from app.core.requests.work import ExpectedWork
from app.core.stored_json import to_dict
from app.core.telemetry import tracing


class Claim(StrEnum):
    """The answer to a worker that claims a stage: it may run the stage; the request is at a later
    stage already; it has ended; there is no such request."""

    CLAIMED = "claimed"
    AHEAD = "ahead"
    ENDED = "ended"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Account:
    """The API key that pays for a request. price: credits for a work unit. reserved: of the key's
    budget, in billionths of a credit. concurrency: how many of the key's requests may be in flight
    at a time; None for no limit."""

    key_id: str = ""
    price: float = 0.0
    reserved: int = 0
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyGuard:
    """The condition of a submission that must happen once: the Redis key `name` holds `expected`;
    the submission sets it to `settled`. Without a name there is no condition."""

    name: str = ""
    expected: str = ""
    settled: str = ""


class IdempotencyKeyTaken(Exception):
    """Another submission has taken over the Idempotency-Key. Never reaches a client."""


NOTICE_S = 15.0
"""An unfinished request is failed this long before its record expires, or after three quarters of
its life if that is later: long enough for app/api/maintenance.py, which runs every few seconds."""

COMPLETIONS_KEPT = 32
"""How many times of completion are kept to measure the throughput."""

_SLACK_S = 5.0  # between the time that expiry() starts from and the submission

_NO_ACCOUNT = Account()
_NO_GUARD = IdempotencyGuard()


class RequestStore:
    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        register = redis.register_script
        self._submit = register(script("transitions/submit"))
        self._claim = register(script("transitions/claim"))
        self._charge = register(script("transitions/charge"))
        self._advance = register(script("transitions/advance"))
        self._progress = register(script("transitions/progress"))
        self._keep = register(script("transitions/keep"))
        self._complete = register(script("transitions/complete"))
        self._fail = register(script("transitions/fail"))
        self._forget = register(script("transitions/forget"))
        self._drop_expired = register(script("transitions/drop_expired"))

    def expiry(self) -> float:
        """When a request submitted now expires, in Unix seconds."""
        return float(int(time.time()) + self._ttl_s)

    def submit(
        self,
        request_id: str,
        owner: str,
        params: GenerationParameters,
        source: Source,
        expires_at: float,
        webhook: WebhookTarget | None = None,
        account: Account = _NO_ACCOUNT,
        guard: IdempotencyGuard = _NO_GUARD,
        stage: Stage = Stage.PREPARE,
        further_sources: Sequence[Source] = (),
        warnings: Sequence[RequestWarning] = (),
        expected: ExpectedWork | None = None,
    ) -> None:
        """Write a new QUEUED record that begins with `stage`. The id must be new. Raises
        InsufficientCredits, and IdempotencyKeyTaken when the guard fails."""
        fields = {"owner": owner, "params": params.to_json(), "source": source.to_json()}
        if further_sources:
            fields["further_sources"] = Source.list_to_json(further_sources)
        fields["stage"] = str(int(stage))
        fields["price"] = repr(account.price)
        if account.concurrency is not None:
            fields["concurrency"] = str(account.concurrency)
        fields |= tracing.carrier()
        if webhook is not None:
            fields["webhook"] = webhook.to_json()
        if warnings:
            fields["submission_warnings"] = warnings_to_json(warnings)
        if expected is not None:
            fields["expected"] = json.dumps(to_dict(expected))
        reserved = str(account.reserved)
        expiry = str(int(expires_at))
        condition = (guard.name, guard.expected, guard.settled)
        args = (expiry, account.key_id, reserved, *condition, *_flat(fields))
        balance = self._run(self._submit, request_id, *args)
        if balance == -1:
            raise IdempotencyKeyTaken
        if isinstance(balance, bytes):
            raise InsufficientCredits(to_credits(int(balance)), to_credits(account.reserved))

    def get(self, request_id: str) -> RequestRecord | None:
        """The record, or None when it is unknown or expired."""
        raw = cast(dict[bytes, bytes], self._redis.hgetall(keys.request(request_id)))
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        return record_from(request_id, fields)

    def claim(self, request_id: str, stage: Stage, execution: str) -> Claim:
        """Claim `stage` for this execution; any earlier execution loses it."""
        processing = "1" if stage is Stage.GENERATE else "0"
        answer = self._run(self._claim, request_id, str(int(stage)), execution, processing)
        return Claim(answer.decode())

    def charge(self, request_id: str, execution: str, cost: int) -> bool:
        """Set the cost of the request, in billionths of a credit, and reserve it instead of the
        estimate. False: the execution has lost the request. Raises OutOfCredits."""
        balance = self._run(self._charge, request_id, execution, str(cost))
        if isinstance(balance, bytes):
            raise OutOfCredits(to_credits(int(balance)), to_credits(cost))
        return bool(balance)

    def advance(self, request_id: str, stage: Stage, execution: str, result: StageResult) -> bool:
        """Store the result of `stage` and open the next one. False: the execution has lost the
        request."""
        flat = _flat(result.to_fields())
        return bool(self._run(self._advance, request_id, execution, str(int(stage)), *flat))

    def progress(
        self, request_id: str, execution: str, step: int, steps: int, preview: str = ""
    ) -> bool:
        """Record step k of n and publish it with its `preview` (a data URI or ""), unless an
        execution before a crash has published it. False: the execution has lost the request and
        should stop."""
        args = (str(step), str(steps), preview)
        return bool(self._run(self._progress, request_id, execution, *args))

    def keep(self, request_id: str, execution: str, saved_work: SavedWork) -> bool:
        """Store what a later execution can go on with. False: the execution has lost the
        request."""
        return bool(self._run(self._keep, request_id, execution, saved_work.to_json()))

    def complete(self, request_id: str, execution: str, result: FinishResult) -> bool:
        """End the request as COMPLETED. False: the execution has lost the request."""
        flat = _flat(result.to_fields())
        return bool(self._run(self._complete, request_id, execution, str(COMPLETIONS_KEPT), *flat))

    def fail(
        self,
        request_id: str,
        error: RequestFailed,
        execution: str = "",
        only_queued: bool = False,
        stage: Stage | None = None,
    ) -> bool:
        """End the request as FAILED. Without an execution any claim on it is ignored. only_queued,
        stage: only if it is QUEUED, or at this stage. False: it has not been failed."""
        only = "1" if only_queued else "0"
        status = str(error.v1_status)
        args = (error.text, status, type(error).__name__, "" if stage is None else str(int(stage)))
        return bool(self._run(self._fail, request_id, execution, only, *args))

    def forget(self, request_id: str) -> None:
        """Delete the record of a submission that failed."""
        self._run(self._forget, request_id)

    def unfinished(self) -> dict[str, Stage]:
        """Every request that has not ended, oldest first, and the stage that it waits for or is in.

        Drops the entries of those whose records have expired.
        """
        ids = _decoded(self._redis.zrange(keys.UNFINISHED, 0, -1))
        with self._redis.pipeline(transaction=False) as pipe:
            for request_id in ids:
                pipe.hget(keys.request(request_id), "stage")
            stages = dict(zip(ids, pipe.execute(), strict=True))
        expired = [request_id for request_id, stage in stages.items() if stage is None]
        if expired:
            args = [repr(time.time()), *expired]
            self._drop_expired(keys=[keys.UNFINISHED, keys.COUNTERS], args=args)
        return {
            request_id: Stage(int(stage))
            for request_id, stage in stages.items()
            if stage is not None
        }

    def expiring(self) -> list[str]:
        """Requests that have not ended and whose records expire within NOTICE_S."""
        latest = time.time() + min(NOTICE_S, self._ttl_s / 4)
        oldest = self._redis.zrangebyscore(keys.UNFINISHED, "-inf", latest - self._ttl_s + _SLACK_S)
        ids = _decoded(oldest)
        with self._redis.pipeline(transaction=False) as pipe:
            for request_id in ids:
                pipe.hget(keys.request(request_id), "expires_at")
            expiries = dict(zip(ids, pipe.execute(), strict=True))
        return [
            request_id
            for request_id, expires_at in expiries.items()
            if expires_at is not None and float(expires_at) <= latest
        ]

    def unfinished_of(self, owner: str | None) -> list[RequestRecord]:
        """An owner's requests that have not ended, newest first; None: those of all owners."""
        ids = _decoded(self._redis.zrevrange(keys.UNFINISHED, 0, -1))
        with self._redis.pipeline(transaction=False) as pipe:
            for request_id in ids:
                pipe.hget(keys.request(request_id), "owner")
            owners = pipe.execute()
        records = (
            self.get(request_id)
            for request_id, name in zip(ids, owners, strict=True)
            if owner is None or name == owner.encode()
        )
        return [record for record in records if record is not None and not record.status.terminal]

    def _run(self, script: Any, request_id: str, *args: str) -> Any:
        now = repr(time.time())
        names = [
            keys.request(request_id),
            keys.request_events(request_id),
            keys.UNFINISHED,
            keys.OUTBOX,
            keys.COUNTERS,
        ]
        return script(keys=names, args=[now, *args])


def _flat(fields: Mapping[str, str]) -> list[str]:
    """name, value, name, value, ..."""
    return [text for pair in fields.items() for text in pair]


def _decoded(ids: Any) -> list[str]:
    return [request_id.decode() for request_id in cast(list[bytes], ids)]
