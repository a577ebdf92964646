"""The verdict after a fault: every accepted request must have ended exactly once, correctly, and
the sums of usage must equal the records and the ledger."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

from redis import Redis

from app.core.accounts.credits import Ledger, to_amount, to_credits
from app.core.accounts.usage import Usage, Window
from app.core.errors import Cancelled
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Status
from app.core.requests.store import RequestStore
from tools.chaos.orders import Order

_POLL_S = 0.1

Events = list[tuple[bytes, dict[bytes, bytes]]]


@dataclass(slots=True)
class Verdict:
    """The counts of one scenario, and a sentence for each violation."""

    accepted: int = 0
    completed: int = 0
    failed: int = 0
    lost: int = 0
    double: int = 0
    wrong: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.faults


def judge(redis: Redis, ordered: Sequence[Order], may_fail: str) -> Verdict:
    """may_fail: what the reason of a request to the hostile host matches; no other may fail."""
    verdict = Verdict()
    store = RequestStore(redis, 3600)
    for order in ordered:
        if not order.id:
            verdict.faults.append(f"never accepted: {order.wrong or 'no answer'}")
            continue
        verdict.accepted += 1
        _judge(verdict, order, redis, store, may_fail)
    return verdict


def usage_faults(redis: Redis, patience_s: float) -> list[str]:
    """Waits until no request is unfinished: a client does not know a request whose acceptance was
    lost. A sentence for each sum that is not that of the records or of the ledger."""
    deadline = time.monotonic() + patience_s
    while redis.zcard(keys.UNFINISHED) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    store = RequestStore(redis, 3600)
    names = [cast(bytes, name).decode() for name in redis.scan_iter("req:*", _type="hash")]
    records = [store.get(name.removeprefix(keys.request(""))) for name in names]
    expected = _expected([record for record in records if record is not None])
    today = datetime.now(UTC).date()
    [found] = Usage(redis).rows(Window(today - timedelta(1), today), ["owner"]) or [{}]
    sums: dict[str, object] = {name: found.get(name) for name in expected}
    [spent] = Ledger(redis).spent().values() or [0.0]
    differences = [
        f"usage: {name} is {sums[name]}, and {of} in the records"
        for name, of in expected.items()
        if sums[name] != of
    ]
    if found.get("credits") != spent:
        differences.append(f"usage: credits are {found.get('credits')}, and {spent} in the ledger")
    return differences


def _expected(records: Sequence[RequestRecord]) -> dict[str, float]:
    """The sums of the requests that have ended."""
    ended = [record for record in records if record.status.terminal]
    completed = [record for record in ended if record.status is Status.COMPLETED]
    cancelled = sum(record.error == Cancelled.sentence for record in ended)
    return {
        "requests": len(ended),
        "completed": len(completed),
        "failed": len(ended) - len(completed) - cancelled,
        "cancelled": cancelled,
        "pictures": sum(len(record.outputs) for record in completed),
        "work_units": to_credits(sum(to_amount(record.work or 0.0) for record in completed)),
        "credits": to_credits(sum(to_amount(record.cost) for record in completed)),
    }


def _judge(
    verdict: Verdict, order: Order, redis: Redis, store: RequestStore, may_fail: str
) -> None:
    def fault(what: str) -> None:
        verdict.faults.append(f"{order.id}: {what}")

    if order.status == "COMPLETED":
        verdict.completed += 1
        if order.hostile:
            fault("completed, though its picture never came")
    elif order.status == "FAILED":
        verdict.failed += 1
        if not order.hostile or not re.search(may_fail, order.error):
            fault(f"failed with {order.error!r}")
    else:
        verdict.lost += 1
        fault(f"lost: its last status is {order.status or 'none'}")
        return
    if order.wrong:
        verdict.wrong += 1
        fault(order.wrong)
    ends = _ends(redis, order.id)
    record = store.get(order.id)
    if ends != [order.status.lower()]:
        verdict.double += 1
        fault(f"its ends are {ends}")
    if record is None or record.status.value != order.status:
        verdict.wrong += 1
        fault(f"was {order.status} and is now {record and record.status.value}")


def _ends(redis: Redis, request_id: str) -> list[str]:
    events = cast(Events, redis.xrange(keys.request_events(request_id)))
    names = [fields[b"event"].decode() for _, fields in events]
    return [name for name in names if name in ("completed", "failed")]
