"""Tells whoever wants to know of requests that have ended: the history, the webhooks.

RQ job on the cpu workers. It takes what is in the outbox, and an entry leaves it only when every
listener has taken it; what fails stays for the next job. So a listener hears of a request once or
more often, and must not mind. New listeners belong into LISTENERS.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from rq.timeouts import JobTimeoutException

from app.core.history.base import rows_of
from app.core.lifecycle.background_jobs import Chore
from app.core.requests.record import RequestRecord
from app.core.webhooks.message import payload
from worker.runtime import Runtime, runtime

log = logging.getLogger(__name__)

_TOGETHER = 100

Listener = Callable[[Runtime, Sequence[RequestRecord]], None]


def _keep_history(context: Runtime, ended: Sequence[RequestRecord]) -> None:
    if context.settings.history_days:
        context.history.write([row for record in ended for row in rows_of(record)])


def _schedule_webhooks(context: Runtime, ended: Sequence[RequestRecord]) -> None:
    called = [record for record in ended if record.webhook is not None]
    for record in called:
        assert record.webhook is not None
        try:
            body = payload(record, context.links)
            context.deliveries.create(record.id, record.owner, record.webhook["url"], body)
        except (TypeError, ValueError):
            # One that cannot be written must not keep the others from being told for ever.
            log.exception("request %s: its webhook cannot be made", record.id)
    if called:
        context.chores.call(Chore.DELIVER)


LISTENERS: tuple[Listener, ...] = (_keep_history, _schedule_webhooks)


def tell() -> None:
    """RQ job: the outbox -> every listener."""
    context = runtime()
    context.chores.begin(Chore.TELL)
    waiting = context.outbox.ids()
    for begin in range(0, len(waiting), _TOGETHER):
        ids = waiting[begin : begin + _TOGETHER]
        ended = context.outbox.read(ids)
        if all([_told(listener, context, ended) for listener in LISTENERS]):  # each of them
            context.outbox.take_out(ids)


def _told(listener: Listener, context: Runtime, ended: Sequence[RequestRecord]) -> bool:
    try:
        listener(context, ended)
    except JobTimeoutException:
        raise
    except Exception:
        # One that cannot take it now must not keep the others from it.
        log.exception("%s: %d ended requests wait", listener.__name__, len(ended))
        return False
    return True
