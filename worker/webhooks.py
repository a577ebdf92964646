"""Sends the webhooks that are due. RQ job of a queue and a worker of its own, so that a receiver
that takes its time keeps no picture waiting; and several at a time, so that it keeps no other
receiver waiting either.

How long until the next attempt, and what an attempt means, is app.core.webhooks.deliveries'
business.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from app.core.egress.addresses import AllowList
from app.core.egress.post import DeliveryFailed, post
from app.core.lifecycle.background_jobs import BackgroundJob, sweep_deliveries
from app.core.telemetry import logs
from app.core.webhooks.deliveries import Attempt, Delivery
from app.core.webhooks.message import signature
from worker.runtime import Runtime, runtime

log = logging.getLogger(__name__)

AT_ONCE = 16


def deliver() -> None:
    """RQ job: one attempt for each of the deliveries that are due, AT_ONCE of them at most."""
    context = runtime()
    context.background_jobs.mark_started(BackgroundJob.DELIVER)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(partial(_deliver, context), context.deliveries.take(AT_ONCE)))
    sweep_deliveries(context.deliveries, context.background_jobs)


def _deliver(context: Runtime, request_id: str) -> None:
    delivery = context.deliveries.get(request_id)
    if delivery is None:
        context.deliveries.drop(request_id)
        return
    with logs.about(request_id):
        begun = Attempt(time.time())
        place = context.deliveries.begin(request_id, begun)
        if place is None:
            return
        keys = context.secrets.of(delivery.owner).live()
        attempt = _attempt(context, delivery, begun.at, keys)
        state = context.deliveries.settle(delivery, place, attempt)
        log.info("webhook: %s, %s", attempt.error or f"answered with {attempt.status}", state)


def _attempt(context: Runtime, delivery: Delivery, at: float, keys: Sequence[str]) -> Attempt:
    settings = context.settings
    headers = {
        "Content-Type": "application/json",
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": signature(keys, delivery.message_id, int(at), delivery.body),
    }
    allow = AllowList.parse(settings.fetch_allow_hosts)
    begun = time.monotonic()
    status, error = None, None
    try:
        body = delivery.body.encode()
        status = post(delivery.url, body, headers, allow, settings.webhook_timeout_s)
    except DeliveryFailed as reason:
        error = str(reason)
    return Attempt(at, round(time.monotonic() - begun, 3), status, error)
