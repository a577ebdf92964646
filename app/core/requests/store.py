"""The request store: every change of a request record, each one script.

Owns what Redis holds of a request besides its hash (a stream of events `req:ID:events`, its place
among the unfinished ones, its end in the outbox) and the state machine. Does not queue jobs, does
not know HTTP or what a picture is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from redis import Redis

from app.core.accounts.credits import to_credits
from app.core.errors import InsufficientCredits, OutOfCredits, RequestFailed
from app.core.lua import script
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage, record_from
from app.core.telemetry import tracing


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
class IdempotencyGuard:
    """Makes a submission happen once: only while the Redis key `name` holds `expected`; from then
    on it holds `settled`. Without a name there is no condition."""

    name: str = ""
    expected: str = ""
    settled: str = ""


class IdempotencyKeyTaken(Exception):
    """Another submission took over the Idempotency-Key. Never reaches a client."""


NOTICE_S = 15.0
"""How long before its record expires a request is ended that has not ended by itself: time enough
for whoever looks now and then (app/api/maintenance.py). A quarter of their life for short ones."""

COMPLETIONS_KEPT = 32
"""How many completions are kept, for the pace at which the server completes requests."""

_SLACK_S = 5.0  # between the moment that an expiry counts from and that of the submission

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
        self._strike_off = register(script("transitions/drop_expired"))

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
        account: Account = _NO_ACCOUNT,
        guard: IdempotencyGuard = _NO_GUARD,
        stage: Stage = Stage.PREPARE,
    ) -> None:
        """Write a new QUEUED record that begins with `stage`. The id must be new. Raises
        InsufficientCredits, and IdempotencyKeyTaken when the guard fails."""
        fields = {"owner": owner, "params": json.dumps(params), "source": json.dumps(source)}
        fields["stage"] = str(int(stage))
        fields["price"] = repr(account.price)
        if account.concurrency is not None:
            fields["concurrency"] = str(account.concurrency)
        fields |= tracing.carrier()
        if webhook is not None:
            fields["webhook"] = json.dumps(webhook)
        reserved = str(account.reserved)
        expiry = str(int(expires_at))
        condition = (guard.name, guard.expected, guard.settled)
        said = (expiry, account.key, reserved, *condition, *_flat(fields))
        answer = self._run(self._submit, request_id, *said)
        if answer == -1:
            raise IdempotencyKeyTaken
        if isinstance(answer, bytes):
            raise InsufficientCredits(to_credits(int(answer)), to_credits(account.reserved))

    def get(self, request_id: str) -> RequestRecord | None:
        """The record, or None when it is unknown or expired."""
        raw = cast(dict[bytes, bytes], self._redis.hgetall(keys.request(request_id)))
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

    def progress(
        self, request_id: str, execution: str, step: int, steps: int, preview: str = ""
    ) -> bool:
        """Record step k of n and report it with its `preview`, unless an execution before a crash
        reported it already. False: this execution has lost the request and should stop."""
        said = (str(step), str(steps), preview)
        return bool(self._run(self._progress, request_id, execution, *said))

    def keep(self, request_id: str, execution: str, kept: Mapping[str, Any]) -> bool:
        """Note what of this execution's work a later one can go on with. False: not ours."""
        return bool(self._run(self._keep, request_id, execution, json.dumps(kept)))

    def complete(self, request_id: str, execution: str, fields: Mapping[str, Any]) -> bool:
        kept = str(COMPLETIONS_KEPT)
        return bool(self._run(self._complete, request_id, execution, kept, *_flat(fields)))

    def fail(
        self,
        request_id: str,
        error: RequestFailed,
        execution: str = "",
        only_queued: bool = False,
        stage: Stage | None = None,
    ) -> bool:
        """End the request as FAILED. Without an execution it is failed whoever holds it; with a
        stage only while that is the one that is open."""
        only = "1" if only_queued else "0"
        status = str(error.v1_status)
        said = (error.text, status, type(error).__name__, "" if stage is None else str(int(stage)))
        return bool(self._run(self._fail, request_id, execution, only, *said))

    def forget(self, request_id: str) -> None:
        """Remove a record whose submission could not be carried through."""
        self._run(self._forget, request_id)

    def unfinished(self) -> dict[str, Stage]:
        """Every request that has not ended, oldest first, and the stage it waits for or is in.

        Strikes off those whose records have expired.
        """
        ids = [
            one.decode() for one in cast(list[bytes], self._redis.zrange(keys.UNFINISHED, 0, -1))
        ]
        with self._redis.pipeline(transaction=False) as pipe:
            for request_id in ids:
                pipe.hget(keys.request(request_id), "stage")
            stages = dict(zip(ids, pipe.execute(), strict=True))
        expired = [one for one, stage in stages.items() if stage is None]
        if expired:
            self._strike_off(keys=[keys.UNFINISHED, keys.COUNTERS], args=expired)
        return {one: Stage(int(stage)) for one, stage in stages.items() if stage is not None}

    def expiring(self) -> list[str]:
        """Requests that have not ended and whose records expire within NOTICE_S."""
        latest = time.time() + min(NOTICE_S, self._ttl_s / 4)
        oldest = self._redis.zrangebyscore(keys.UNFINISHED, "-inf", latest - self._ttl_s + _SLACK_S)
        ids = [one.decode() for one in cast(list[bytes], oldest)]
        with self._redis.pipeline(transaction=False) as pipe:
            for request_id in ids:
                pipe.hget(keys.request(request_id), "expires_at")
            expiries = dict(zip(ids, pipe.execute(), strict=True))
        return [one for one, at in expiries.items() if at is not None and float(at) <= latest]

    def unfinished_of(self, owner: str) -> list[RequestRecord]:
        """An owner's requests that have not ended, newest first."""
        ids = [
            one.decode() for one in cast(list[bytes], self._redis.zrevrange(keys.UNFINISHED, 0, -1))
        ]
        with self._redis.pipeline(transaction=False) as pipe:
            for request_id in ids:
                pipe.hget(keys.request(request_id), "owner")
            owners = pipe.execute()
        own = [one for one, name in zip(ids, owners, strict=True) if name == owner.encode()]
        records = (self.get(request_id) for request_id in own)
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


def _flat(fields: Mapping[str, Any]) -> list[str]:
    flat = []
    for name, value in fields.items():
        flat += [name, value if isinstance(value, str) else json.dumps(value)]
    return flat
