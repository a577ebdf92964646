"""Usage: what the requests of each owner and API key used, by day, as sums in Redis.

The script that ends a request also adds to the sums (app/core/lua/fragments/usage.lua), so they
equal the ledger and the records. A request counts once, on the day in UTC on which it ended. The
sums of a day are kept for KEPT_DAYS, also those of a revoked key. Reads them; changes nothing.

Sums are whole numbers: billionths of credits and of work units, microseconds on the gpu. A queue
time counts in the bucket of the nearest power of 1.25 (seconds, from 0.01 on). Buckets of several
days and keys add up, and a percentile of them is at most 12 % off.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Final, Literal, cast

from redis import Redis
from typing_extensions import TypedDict

from app.core.accounts.credits import to_credits
from app.core.redis import keys

KEPT_DAYS = 400
"""Days after which the sums of a day expire, and the longest range of a report."""

Group = Literal["owner", "key", "day"]
GROUPS: Final[tuple[Group, ...]] = ("owner", "key", "day")

_EPOCH = date(1970, 1, 1)
_BUCKET = "queue "
_READ_DAYS = 31  # in one round trip


class UsageRow(TypedDict, total=False):
    """The sums of a group; of owner, key (an id, "" for none) and day only those that were asked
    for. pictures, work_units, credits: of COMPLETED requests. gpu_seconds: in the model, of all.
    queue_p50_s, queue_p95_s: from acceptance to the start on a gpu; None if no request started.
    """

    owner: str
    key: str
    day: str
    requests: int
    completed: int
    failed: int
    cancelled: int
    pictures: int
    work_units: float
    gpu_seconds: float
    credits: float
    queue_p50_s: float | None
    queue_p95_s: float | None


@dataclass(frozen=True, slots=True)
class Window:
    """Days in UTC, both inclusive. Raises ValueError that names the limit."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"from: {self.first} is after to ({self.last})")
        if (self.last - self.first).days >= KEPT_DAYS:
            raise ValueError(
                f"from: {self.first} to {self.last} are more than the {KEPT_DAYS} days of a report"
            )

    @classmethod
    def of(cls, first: date | None, last: date | None) -> Window:
        """last: today by default. first: the first day of the month of `last` by default."""
        last = last or datetime.now(UTC).date()
        return cls(first or last.replace(day=1), last)

    def days(self) -> Iterator[date]:
        return (self.first + timedelta(at) for at in range((self.last - self.first).days + 1))


def parse_groups(texts: Sequence[str]) -> tuple[Group, ...]:
    """The groups of texts such as `owner,day`, in the order of GROUPS. Raises ValueError."""
    names = {name.strip() for text in texts for name in text.split(",")}
    if not names or not names <= set(GROUPS):
        raise ValueError(f"group_by: allowed are {', '.join(GROUPS)}, separated by commas")
    return tuple(group for group in GROUPS if group in names)


class Usage:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def rows(self, window: Window, groups: Sequence[Group] = GROUPS) -> list[UsageRow]:
        """One row for each group with requests, sorted by owner, key and day. Raises RedisError."""
        sums: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for entry in self._entries(window):
            sums[tuple(getattr(entry, group) for group in groups)].update(entry.sums)
        return [_row(groups, names, sums[names]) for names in sorted(sums)]

    def spent_by_month(self, months: int) -> dict[str, dict[str, float]]:
        """Id of a key -> month (`2026-11`) -> credits of its COMPLETED requests, for the last
        `months` months; without months in which it spent nothing. Raises RedisError."""
        today = datetime.now(UTC).date()
        year, month = divmod(today.year * 12 + today.month - months, 12)
        amounts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for entry in self._entries(Window(date(year, month + 1, 1), today)):
            if amount := entry.sums["credits"]:
                amounts[entry.key][entry.day[:7]] += amount
        return {
            key: {month: to_credits(amount) for month, amount in of.items()}
            for key, of in amounts.items()
        }

    def _entries(self, window: Window) -> Iterator[_Entry]:
        days = list(window.days())
        for at in range(0, len(days), _READ_DAYS):
            batch = days[at : at + _READ_DAYS]
            with self._redis.pipeline(transaction=False) as pipe:
                for day in batch:
                    pipe.hgetall(keys.usage((day - _EPOCH).days))
                found = cast(list[dict[bytes, bytes]], pipe.execute())
            for day, accounts in zip(batch, found, strict=True):
                for account, text in accounts.items():
                    key, _, owner = account.decode().partition(" ")
                    sums = Counter({name: int(of) for name, of in json.loads(text).items()})
                    yield _Entry(owner, key, day.isoformat(), sums)


def to_csv(rows: Sequence[UsageRow], groups: Sequence[Group]) -> str:
    """The rows as RFC 4180, with a line of names; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(groups))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def columns(groups: Sequence[Group]) -> list[str]:
    """The names of a row of these groups, in their order."""
    return [name for name in UsageRow.__annotations__ if name in groups or name not in GROUPS]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the requests of an account used on a day (ISO 8601). sums: 0 for what is missing."""

    owner: str
    key: str
    day: str
    sums: Counter[str]


def _row(groups: Sequence[Group], names: tuple[str, ...], sums: Counter[str]) -> UsageRow:
    row: UsageRow = {
        "requests": sums["requests"],
        "completed": sums["completed"],
        "failed": sums["failed"],
        "cancelled": sums["cancelled"],
        "pictures": sums["pictures"],
        "work_units": to_credits(sums["work"]),
        "gpu_seconds": sums["gpu_us"] / 10**6,
        "credits": to_credits(sums["credits"]),
        "queue_p50_s": _percentile(sums, 50),
        "queue_p95_s": _percentile(sums, 95),
    }
    return cast(UsageRow, {**dict(zip(groups, names, strict=True)), **row})


def _percentile(sums: Counter[str], percent: int) -> float | None:
    """By nearest rank; None without a queue time."""
    times = sorted(
        (float(name.removeprefix(_BUCKET)), count)
        for name, count in sums.items()
        if name.startswith(_BUCKET)
    )
    ranks = list(accumulate(count for _, count in times))
    if not ranks:
        return None
    wanted = -(-ranks[-1] * percent // 100)
    return next(of for (of, _), rank in zip(times, ranks, strict=True) if rank >= wanted)
