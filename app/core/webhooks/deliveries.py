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

from app.core.stored_json import from_stored

DUE = "webhooks:due"
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


# All take KEYS = the delivery (hash), its attempts (list), DUE; and ARGV[1] = its request's id,
# ARGV[2] = seconds it is kept. It is pending exactly while it is in DUE.

# ARGV[3] = now, ARGV[4..] = field, value, ...  Once only: returns 1 or 0.
_CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', 'pending', unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
return 1
"""

# ARGV[3] = attempt, ARGV[4] = end of the lease. Returns the place of the attempt in the log, from 1
# on; 0 when the delivery is over or its log has expired.
_BEGIN = """
if redis.call('HGET', KEYS[1], 'state') ~= 'pending' then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 0
end
-- The client library asks twice when the first answer was lost.
if redis.call('LINDEX', KEYS[2], -1) ~= ARGV[3] then redis.call('RPUSH', KEYS[2], ARGV[3]) end
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
return redis.call('LLEN', KEYS[2])
"""

# ARGV[3] = attempt, ARGV[4] = its outcome (pending: try again), ARGV[5] = when, ARGV[6] = its
# place. What is over stays over, whatever an attempt that took too long comes to tell.
_SETTLE = """
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 0
end
if redis.call('LINDEX', KEYS[2], ARGV[6] - 1) == ARGV[3] then return 1 end  -- told twice
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[6]) then
  redis.call('LSET', KEYS[2], ARGV[6] - 1, ARGV[3])
end
if redis.call('HGET', KEYS[1], 'state') == 'pending' then
  redis.call('HSET', KEYS[1], 'state', ARGV[4])
  if ARGV[4] == 'pending' then redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
  else redis.call('ZREM', KEYS[3], ARGV[1]) end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
"""

# KEYS[1] = DUE; ARGV = now, end of the lease, how many. Owners take turns, each with what waits
# longest: one whose receivers do not answer would keep everybody's from being called.
_TAKE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 2048)
local of, owners, taken, most = {}, {}, {}, tonumber(ARGV[3])
for _, id in ipairs(due) do
  local owner = redis.call('HGET', 'webhook:' .. id, 'owner') or ''
  if not of[owner] then
    of[owner] = {}
    owners[#owners + 1] = owner
  end
  table.insert(of[owner], id)
end
for round = 1, #due do
  for _, owner in ipairs(owners) do
    local id = of[owner][round]
    if id and #taken < most then
      redis.call('ZADD', KEYS[1], ARGV[2], id)
      taken[#taken + 1] = id
    end
  end
  if #taken >= most then break end
end
return taken
"""


class Deliveries:
    def __init__(self, redis: Redis, pauses_s: Sequence[float], timeout_s: float) -> None:
        """pauses_s: between one attempt and the next; as many as there may be further ones.
        timeout_s: the longest that an attempt takes."""
        self._redis = redis
        self._lease_s = timeout_s + LEASE_SLACK_S
        self._pauses_s = pauses_s
        self._kept_s = int(KEPT_S + max(pauses_s, default=0))
        self._create = redis.register_script(_CREATE)
        self._begin = redis.register_script(_BEGIN)
        self._settle = redis.register_script(_SETTLE)
        self._take = redis.register_script(_TAKE)

    def create(self, request_id: str, owner: str, url: str, body: str) -> bool:
        """Due at once. False: it was there already."""
        fields = ("owner", owner, "url", url, "body", body)
        return bool(self._run(self._create, request_id, repr(time.time()), *fields))

    def get(self, request_id: str) -> Delivery | None:
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(_key(request_id))
            pipe.lrange(_attempts_key(request_id), 0, -1)
            pipe.zscore(DUE, request_id)
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
        return bool(self._redis.zcount(DUE, "-inf", time.time()))

    def take(self, most: int) -> list[str]:
        """The requests of deliveries that are due, those that wait longest first, owners in turns:
        the caller's until the lease ends."""
        now = time.time()
        taken = self._take(keys=[DUE], args=[repr(now), repr(now + self._lease_s), most])
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
        self._redis.zrem(DUE, request_id)

    def _run(self, script: Any, request_id: str, *args: str) -> Any:
        keys = [_key(request_id), _attempts_key(request_id), DUE]
        return script(keys=keys, args=[request_id, str(self._kept_s), *args])


def _entry(attempt: Attempt) -> str:
    return json.dumps(asdict(attempt))


def _key(request_id: str) -> str:
    return f"webhook:{request_id}"


def _attempts_key(request_id: str) -> str:
    return f"webhook:{request_id}:attempts"
