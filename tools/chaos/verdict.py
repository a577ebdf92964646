"""The verdict after a fault: every accepted request must have ended exactly once, correctly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from redis import Redis

from app.core.redis import keys
from app.core.requests.store import RequestStore
from tools.chaos.orders import Order

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
