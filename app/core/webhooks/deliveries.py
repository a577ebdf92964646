"""The log of webhooks: what is to be sent where, each attempt, and when the next one is due.

A delivery is a hash `webhook:ID`, its attempts a list beside it, and while it is pending it stands
in a sorted set by the time of its next attempt. Taking one up moves that time on by a lease, so a
sender that dies is replaced; a receiver may get the same message twice. An attempt is written down
before it is made: one whose sender died stays in the log without an end. Does not send.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, cast

from redis import Redis

from app.core.lua import script
from app.core.redis.keys import DELIVERIES_DUE, delivery, delivery_attempts
from app.core.stored_json import from_stored

LEASE_SLACK_S = 5.0
"""Seconds of a lease beyond the longest attempt."""
KEPT_S = 7 * 86_400
"""How long a delivery is on record after its last change."""


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Attempt:
    """status: of HTTP, None when there was no answer; error: why not, None with an answer.
    duration_s: None for one that has not ended: it is being made, or its sender died."""

    at: float
    duration_s: float | None = None
    status: int | None = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        return self.duration_s is not None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """410 Gone: the receiver wants no more."""
        return self.status == 410


@dataclass(frozen=True, slots=True)
class Delivery:
    """next_at: Unix seconds; None when there is no next attempt."""

    request_id: str
    owner: str
    url: str
    body: str
    state: State
    attempts: tuple[Attempt, ...]
    next_at: float | None

    @property
    def message_id(self) -> str:
        """The same in every attempt, so that a receiver knows what it has seen."""
        return f"msg_{self.request_id}"


class Deliveries:
    def __init__(self, redis: Redis, pauses_s: Sequence[float], timeout_s: float) -> None:
        """pauses_s: between one attempt and the next; as many as there may be further ones.
        timeout_s: the longest that an attempt takes."""
        self._redis = redis
        self._lease_s = timeout_s + LEASE_SLACK_S
        self._pauses_s = pauses_s
        self._kept_s = int(KEPT_S + max(pauses_s, default=0))
        self._create = redis.register_script(script("webhooks/create"))
        self._begin = redis.register_script(script("webhooks/begin"))
        self._settle = redis.register_script(script("webhooks/settle"))
        self._take = redis.register_script(script("webhooks/take"))

    def create(self, request_id: str, owner: str, url: str, body: str) -> bool:
        """Due at once. False: it was there already."""
        fields = ("owner", owner, "url", url, "body", body)
        return bool(self._run(self._create, request_id, repr(time.time()), *fields))

    def get(self, request_id: str) -> Delivery | None:
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(delivery(request_id))
            pipe.lrange(delivery_attempts(request_id), 0, -1)
            pipe.zscore(DELIVERIES_DUE, request_id)
            raw, attempts, due = pipe.execute()
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        if "state" not in fields:
            return None
        return Delivery(
            request_id=request_id,
            owner=fields["owner"],
            url=fields["url"],
            body=fields["body"],
            state=State(fields["state"]),
            attempts=tuple(from_stored(Attempt, attempt) for attempt in attempts),
            next_at=due,
        )

    def due(self) -> bool:
        """Whether any has to be sent now."""
        return bool(self._redis.zcount(DELIVERIES_DUE, "-inf", time.time()))

    def take(self, most: int) -> list[str]:
        """The requests of deliveries that are due, those that wait longest first, owners in turns:
        the caller's until the lease ends."""
        now = time.time()
        taken = self._take(keys=[DELIVERIES_DUE], args=[repr(now), repr(now + self._lease_s), most])
        return [one.decode() for one in cast(list[bytes], taken)]

    def begin(self, request_id: str, attempt: Attempt) -> int | None:
        """Write down an attempt that is about to be made, and renew the lease: its place in the
        log. None: there is nothing to send any more."""
        lease_end = repr(time.time() + self._lease_s)
        place: int = self._run(self._begin, request_id, _entry(attempt), lease_end)
        return place or None

    def settle(self, delivery: Delivery, place: int, attempt: Attempt) -> State:
        """Write down how an attempt ended, and say what becomes of the delivery, which is as it
        was before the attempt. Attempts whose senders died use up no pause.
        """
        made = sum(earlier.ended for earlier in delivery.attempts)
        state, next_at = State.PENDING, 0.0
        if attempt.delivered:
            state = State.DELIVERED
        elif attempt.final or made >= len(self._pauses_s):
            state = State.GIVEN_UP
        else:
            next_at = time.time() + self._pauses_s[made]
        outcome = (_entry(attempt), state, repr(next_at), str(place))
        self._run(self._settle, delivery.request_id, *outcome)
        return state

    def drop(self, request_id: str) -> None:
        """Strike off one whose record has expired."""
        self._redis.zrem(DELIVERIES_DUE, request_id)

    def _run(self, script: Any, request_id: str, *args: str) -> Any:
        keys = [delivery(request_id), delivery_attempts(request_id), DELIVERIES_DUE]
        return script(keys=keys, args=[request_id, str(self._kept_s), *args])


def _entry(attempt: Attempt) -> str:
    return json.dumps(asdict(attempt))
