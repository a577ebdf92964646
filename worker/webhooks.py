"""Sends the webhook deliveries that are due.

The RQ job has its own queue and worker, so that slow receivers delay no picture, and sends several
deliveries concurrently, so that they do not delay each other. app.core.webhooks.deliveries owns the
back-off and the meaning of an attempt.
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
    """RQ job: one attempt for each due delivery, at most AT_ONCE of them."""
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
        open_attempt = Attempt(time.time())
        position = context.deliveries.begin(request_id, open_attempt)
        if position is None:
            return
        keys = context.secrets.of(delivery.owner).live()
        attempt = _attempt(context, delivery, open_attempt.at, keys)
        state = context.deliveries.settle(delivery, position, attempt)
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
    started = time.monotonic()
    status, error = None, None
    try:
        body = delivery.body.encode()
        status = post(delivery.url, body, headers, allow, settings.webhook_timeout_s)
    except DeliveryFailed as reason:
        error = str(reason)
    return Attempt(at, round(time.monotonic() - started, 3), status, error)
