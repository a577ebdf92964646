"""Reports ended requests from the outbox to the listeners: the history and the webhooks.

RQ job on the finish workers. An entry leaves the outbox only when every listener has accepted it;
otherwise the next job retries it. Delivery is therefore at-least-once, and listeners must be
idempotent. Add new listeners to LISTENERS.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from rq.timeouts import JobTimeoutException

from app.core.history.base import rows_of
from app.core.lifecycle.background_jobs import BackgroundJob
from app.core.requests.record import RequestRecord
from app.core.webhooks.message import payload
from worker.runtime import Runtime, runtime

log = logging.getLogger(__name__)

_BATCH = 100

Listener = Callable[[Runtime, Sequence[RequestRecord]], None]


def _keep_history(context: Runtime, ended: Sequence[RequestRecord]) -> None:
    if context.settings.history_days:
        context.history.write([row for record in ended for row in rows_of(record)])


def _schedule_webhooks(context: Runtime, ended: Sequence[RequestRecord]) -> None:
    with_webhook = [record for record in ended if record.webhook is not None]
    for record in with_webhook:
        assert record.webhook is not None
        try:
            body = payload(record, context.links)
            context.deliveries.create(record.id, record.owner, record.webhook.url, body)
        except (TypeError, ValueError):
            # One message that cannot be serialised must not block the others.
            log.exception("request %s: its webhook message cannot be built", record.id)
    if with_webhook:
        context.background_jobs.request(BackgroundJob.DELIVER)


LISTENERS: tuple[Listener, ...] = (_keep_history, _schedule_webhooks)


def notify() -> None:
    """RQ job: pass the entries of the outbox to every listener."""
    context = runtime()
    context.background_jobs.mark_started(BackgroundJob.NOTIFY)
    waiting = context.outbox.ids()
    for begin in range(0, len(waiting), _BATCH):
        ids = waiting[begin : begin + _BATCH]
        ended = context.outbox.read(ids)
        # A list, not a generator: every listener runs, even after one has failed.
        if all([_notified(listener, context, ended) for listener in LISTENERS]):
            context.outbox.remove(ids)


def _notified(listener: Listener, context: Runtime, ended: Sequence[RequestRecord]) -> bool:
    try:
        listener(context, ended)
    except JobTimeoutException:
        raise
    except Exception:
        # A listener that fails must not keep the entries from the other listeners.
        log.exception("%s failed: %d ended requests wait", listener.__name__, len(ended))
        return False
    return True
