"""Periodic maintenance: the list of tasks, and the loop in which one api process runs them.

A lock in Redis gives each period to one replica. It is never released; it expires. A replica that
stalls may still run tasks concurrently with the next one, so each task must be idempotent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from app.api.deps import Services
from app.core.errors import BlobsUnavailable
from app.core.lifecycle.background_jobs import sweep_deliveries, sweep_outbox
from app.core.lifecycle.expiry import fail_expiring
from app.core.lifecycle.recovery import recover_orphans
from app.core.redis import keys

log = logging.getLogger(__name__)

PERIOD_S = 5.0
_RECHECK_S = 2.0
_PRUNE_EVERY_S = 3600
_SWEEP_PERIOD_S = 60

Task = Callable[[Services], None]


def _recover_orphans(services: Services) -> None:
    recover_orphans(services.requests, services.jobs, partial(time.sleep, _RECHECK_S))


def _fail_expiring(services: Services) -> None:
    fail_expiring(services.requests, services.jobs, services.blobs, services.background_jobs)


def _give_back_expired(services: Services) -> None:
    services.ledger.give_back_expired()


def _release_held(services: Services) -> None:
    services.jobs.release_held()


def _sweep_outbox(services: Services) -> None:
    sweep_outbox(services.outbox, services.background_jobs)


def _sweep_deliveries(services: Services) -> None:
    sweep_deliveries(services.deliveries, services.background_jobs)


def _prune_history(services: Services) -> None:
    if services.redis.set(keys.PRUNE_LOCK, "1", nx=True, ex=_PRUNE_EVERY_S):
        services.history.prune()


def _sweep_blobs(services: Services) -> None:
    """Less often than every period: a sweep visits every file of a folder."""
    if services.redis.set(keys.BLOB_SWEEP_LOCK, "1", nx=True, ex=_SWEEP_PERIOD_S):
        services.blobs.sweep()


def _enforce_output_quota(services: Services) -> None:
    services.stored_outputs.enforce_quota()


TASKS: tuple[Task, ...] = (
    _fail_expiring,
    _recover_orphans,
    _give_back_expired,
    _release_held,
    _sweep_outbox,
    _sweep_deliveries,
    _prune_history,
    _enforce_output_quota,
    _sweep_blobs,
)


async def run_maintenance(services: Services) -> None:
    """Run the tasks every PERIOD_S until cancelled, unless another replica has the period."""
    while True:
        await asyncio.sleep(PERIOD_S)
        try:
            await run_in_threadpool(run_tasks, services)
        except Exception:  # e.g. no thread available: the loop must survive to the next period
            log.exception("maintenance")


def run_tasks(services: Services) -> bool:
    """One period. False: another replica has it, or Redis is unreachable."""
    try:
        acquired = services.redis.set(keys.MAINTENANCE_LOCK, "1", nx=True, px=int(PERIOD_S * 1000))
    except RedisError as error:
        log.warning("maintenance: %s", error)
        return False
    if not acquired:
        return False
    for task in TASKS:
        try:
            task(services)
        except (RedisError, BlobsUnavailable) as error:
            log.warning("maintenance: %s: %s", task.__name__, error)
        except Exception:
            # A bug in one task must stop neither the others nor the loop.
            log.exception("maintenance: %s", task.__name__)
    return True
