"""The keys that may be in Redis and their lifetimes: every key expires, or is one of LASTING."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

from redis import Redis

HOUR_S, DAY_S = 3600, 86_400

EXPIRING: Mapping[str, int] = {
    "blob:upload:*": 7 * DAY_S,
    "uploads:*": 7 * DAY_S,
    "history:*": 30 * DAY_S,
    "usage:of:*": 7 * DAY_S + HOUR_S,
    "usage:*": 400 * DAY_S,
    "webhook:*": 7 * DAY_S + 28_800,
    "rq:queue:*:first_seen:*": DAY_S,
    "measured:requests:*": 30 * DAY_S,
    "*": HOUR_S,
}
"""The most seconds that a key lives which expires, by the first pattern that fits. An hour is the
life of a request."""


@dataclass(frozen=True, slots=True)
class Installed:
    """How much there is of what lasts. workers: in hand is at most one job of each. stored:
    requests whose finished pictures are stored."""

    keys: int = 1
    owners: int = 1
    workers: int = 0
    unfinished: int = 0
    untold: int = 0
    undelivered: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True)
class Lasting:
    """Keys of one name without an expiry. members: how many one of them holds at most; keys: how
    many of them there are at most."""

    why: str
    members: Callable[[Installed], int]
    keys: Callable[[Installed], int] = lambda _: 1


_ACCOUNT = "until the key is revoked"
_UNFINISHED = "until the request ends, which it does before its record expires"
_UNTOLD = "until every listener has been notified"
_STORED = "until its pictures expire; the maintenance takes it out"
_MEASURED = "a fixed number of figures"
_BOOKS = "the maintenance of the workers takes out what is over"

LASTING: Mapping[str, Lasting] = {
    "keys": Lasting(_ACCOUNT, lambda there: there.keys),
    "keys:used": Lasting(_ACCOUNT, lambda there: there.keys),
    "credits": Lasting(_ACCOUNT, lambda there: there.keys),
    "spent": Lasting(_ACCOUNT, lambda there: there.keys),
    "webhook:secrets": Lasting("one an owner; receivers hold it", lambda there: there.owners),
    "secret:links": Lasting("links are valid as long as it is the same", lambda _: 1),
    "secret:receipts": Lasting("receipts are valid as long as it is the same", lambda _: 1),
    "requests:unfinished": Lasting(_UNFINISHED, lambda there: there.unfinished),
    "reservations": Lasting(_UNFINISHED, lambda there: there.unfinished),
    "reservations:expiry": Lasting(_UNFINISHED, lambda there: there.unfinished),
    "held": Lasting(_UNFINISHED, lambda there: min(there.keys, there.unfinished)),
    "requests:ended": Lasting(_UNTOLD, lambda there: there.untold),
    "webhooks:due": Lasting(_UNTOLD, lambda there: there.undelivered),
    "outputs:expiry": Lasting(_STORED, lambda there: there.stored),
    "outputs:records": Lasting(_STORED, lambda there: there.stored),
    "outputs:bytes": Lasting(f"{_STORED}; and the sum", lambda there: there.stored + 1),
    "requests:pace": Lasting(_MEASURED, lambda _: 32),
    "measured": Lasting(_MEASURED, lambda _: 20),
    "metrics": Lasting(_MEASURED, lambda _: 250),
    "rq:queues": Lasting("the names of the queues", lambda _: 5),
    "rq:queue:*": Lasting(
        "until a worker takes the job",
        lambda there: there.unfinished + there.untold + there.undelivered,
        lambda _: 5,
    ),
    "rq:job:*": Lasting("until the job ends", lambda _: 25, lambda there: there.workers),
    "rq:wip:*": Lasting(_BOOKS, lambda there: there.workers, lambda _: 5),
    "rq:workers": Lasting(_BOOKS, lambda there: there.workers),
    "rq:workers:*": Lasting(_BOOKS, lambda there: there.workers, lambda _: 5),
    "rq:finished:*": Lasting(_BOOKS, lambda _: 1000, lambda _: 5),
    "rq:failed:*": Lasting(_BOOKS, lambda _: 1000, lambda _: 5),
}
"""Keys that do not expire. A new one needs a reason, and a bound that does not depend on how many
requests there have been."""


def wrong_keys(redis: Redis, there: Installed) -> list[str]:
    """A line for each key that lasts without a reason, holds too much or lives too long."""
    lines, lasting = [], Counter[str]()
    for name, ttl_s, size in _every_key(redis):
        if ttl_s >= 0:
            longest_s = next(longest for key, longest in EXPIRING.items() if fnmatchcase(name, key))
            if ttl_s > longest_s:
                lines.append(f"{name} lives {ttl_s} s, at most {longest_s} are allowed")
        elif (of := next((key for key in LASTING if fnmatchcase(name, key)), None)) is None:
            lines.append(f"{name} has no expiry")
        else:
            lasting[of] += 1
            if size > (most := LASTING[of].members(there)):
                lines.append(f"{name} holds {size}, at most {most} are allowed")
    for of, count in lasting.items():
        if count > (most := LASTING[of].keys(there)):
            lines.append(f"{count} keys {of} have no expiry, at most {most} are allowed")
    return sorted(lines)


def sizes(redis: Redis, *, longer_than_s: int = 0) -> dict[str, int]:
    """How many members each key has that does not expire, or not within this time."""
    every = _every_key(redis)
    return {name: size for name, ttl_s, size in every if not 0 <= ttl_s < longer_than_s}


def dump(redis: Redis) -> dict[bytes, bytes | None]:
    """All that there is, to be compared with a later moment; expiries are left out."""
    return {key: redis.dump(key) for key in redis.scan_iter(count=1000)}


def mentions(redis: Redis, words: Iterable[str]) -> dict[str, str]:
    """Every key in whose name or content one of the words stands, and the word."""
    found = {}
    wanted = list(words)
    for key in redis.scan_iter(count=1000):
        text = f"{key!r} {content(redis, key)!r}"
        for word in wanted:
            if word in text:
                found[cast(bytes, key).decode()] = word
    return found


def content(redis: Redis, key: bytes) -> Any:
    """All that a key holds."""
    read: Mapping[str, Callable[[], Any]] = {
        "string": lambda: redis.get(key),
        "hash": lambda: redis.hgetall(key),
        "list": lambda: redis.lrange(key, 0, -1),
        "set": lambda: redis.smembers(key),
        "zset": lambda: redis.zrange(key, 0, -1, withscores=True),
        "stream": lambda: redis.xrange(key),
        "none": lambda: None,
    }
    return read[cast(bytes, redis.type(key)).decode()]()


def let_pass(redis: Redis, seconds: float) -> None:
    """What this time does in Redis: keys expire."""
    for key in redis.scan_iter(count=1000):
        left_ms = redis.pttl(key)
        if left_ms >= 0:
            redis.pexpire(key, max(0, round(left_ms - seconds * 1000)))


def _every_key(redis: Redis) -> list[tuple[str, int, int]]:
    """(name, seconds to live or less than 0, how many members)."""
    names = [cast(bytes, key) for key in redis.scan_iter(count=1000)]
    with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name)
            pipe.ttl(name)
        found = pipe.execute()
    count: dict[bytes, Callable[[bytes], int]] = {
        b"hash": redis.hlen,
        b"list": redis.llen,
        b"set": redis.scard,
        b"zset": redis.zcard,
        b"stream": redis.xlen,
        b"string": lambda _: 1,
        b"none": lambda _: 0,
    }
    every = zip(names, found[::2], found[1::2], strict=True)
    return [(name.decode(), ttl, count[kind](name)) for name, kind, ttl in every]
