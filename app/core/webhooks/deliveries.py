"""Webhook deliveries: target, body, the log of attempts, and the due time of the next attempt.

A delivery is a hash `webhook:ID`; its attempts are a list beside it. A pending delivery is also in
a sorted set by the due time of its next attempt. Claiming a delivery pushes its due time back by a
lease. If the sender dies, another one picks the delivery up, so receivers may see duplicates
(at-least-once). An attempt is logged before it starts; if its sender dies, the entry stays without
an end. Sends nothing.
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
"""Seconds that a lease exceeds the longest attempt by."""
RETENTION_S = 7 * 86_400
"""How long a delivery is stored after its last change."""


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Attempt:
    """status: of HTTP, None without a response; error: the reason then, else None. duration_s: None
    while the attempt is in flight, and for ever if its sender has died."""

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
        """410 Gone: the receiver asks for no further attempts."""
        return self.status == 410


@dataclass(frozen=True, slots=True)
class Delivery:
    """next_at: due time of the next attempt in Unix seconds; None when there will be none."""

    request_id: str
    owner: str
    url: str
    body: str
    state: State
    attempts: tuple[Attempt, ...]
    next_at: float | None

    @property
    def message_id(self) -> str:
        """The same in every attempt, so that receivers recognise duplicates."""
        return f"msg_{self.request_id}"


class Deliveries:
    def __init__(self, redis: Redis, pauses_s: Sequence[float], timeout_s: float) -> None:
        """pauses_s: seconds of back-off before each further attempt; their number is the number of
        further attempts. timeout_s: the longest duration of an attempt."""
        self._redis = redis
        self._lease_s = timeout_s + LEASE_SLACK_S
        self._pauses_s = pauses_s
        self._retention_s = int(RETENTION_S + max(pauses_s, default=0))
        self._create = redis.register_script(script("webhooks/create"))
        self._begin = redis.register_script(script("webhooks/begin"))
        self._settle = redis.register_script(script("webhooks/settle"))
        self._take = redis.register_script(script("webhooks/take"))

    def create(self, request_id: str, owner: str, url: str, body: str) -> bool:
        """Store a delivery that is due at once. False: it exists already."""
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
        """True when a delivery is due now."""
        return bool(self._redis.zcount(DELIVERIES_DUE, "-inf", time.time()))

    def take(self, most: int) -> list[str]:
        """Claim at most this many due deliveries: longest due first, owners in turns. Their request
        ids, which no other sender gets until the lease ends."""
        now = time.time()
        taken = self._take(keys=[DELIVERIES_DUE], args=[repr(now), repr(now + self._lease_s), most])
        return [request_id.decode() for request_id in cast(list[bytes], taken)]

    def begin(self, request_id: str, attempt: Attempt) -> int | None:
        """Log an attempt that is about to start and renew the lease. Its position in the log, from
        1; None: the delivery is not pending any more."""
        lease_end = repr(time.time() + self._lease_s)
        position: int = self._run(self._begin, request_id, _entry(attempt), lease_end)
        return position or None

    def settle(self, delivery: Delivery, place: int, attempt: Attempt) -> State:
        """Log how an attempt ended and schedule the next one. The new state. delivery: as it was
        before the attempt. place: from begin(). Attempts whose senders died are not counted.
        """
        ended = sum(earlier.ended for earlier in delivery.attempts)
        state, next_at = State.PENDING, 0.0
        if attempt.delivered:
            state = State.DELIVERED
        elif attempt.final or ended >= len(self._pauses_s):
            state = State.GIVEN_UP
        else:
            next_at = time.time() + self._pauses_s[ended]
        outcome = (_entry(attempt), state, repr(next_at), str(place))
        self._run(self._settle, delivery.request_id, *outcome)
        return state

    def drop(self, request_id: str) -> None:
        """Remove the due time of a delivery that has expired."""
        self._redis.zrem(DELIVERIES_DUE, request_id)

    def _run(self, script: Any, request_id: str, *args: str) -> Any:
        keys = [delivery(request_id), delivery_attempts(request_id), DELIVERIES_DUE]
        return script(keys=keys, args=[request_id, str(self._retention_s), *args])


def _entry(attempt: Attempt) -> str:
    return json.dumps(asdict(attempt))
