"""What has to be done now and then, by one api process for all: the list of duties, and a loop.

A lock in Redis that is never given back, only expires, gives each period to one replica. Duties
may run twice at once all the same (a replica that stalled), so each must be safe then.
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
from app.core.lifecycle.expiry import end_expiring
from app.core.lifecycle.recovery import recover_orphans
from app.core.redis import keys

log = logging.getLogger(__name__)

PERIOD_S = 5.0
_SECOND_LOOK_S = 2.0
_PRUNE_EVERY_S = 3600
_SWEEP_PERIOD_S = 60

Duty = Callable[[Services], None]


def _recover_orphans(services: Services) -> None:
    recover_orphans(services.requests, services.jobs, partial(time.sleep, _SECOND_LOOK_S))


def _end_expiring(services: Services) -> None:
    end_expiring(services.requests, services.jobs, services.blobs, services.background_jobs)


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
    """Not in every period: a sweep looks at every file of a folder."""
    if services.redis.set(keys.BLOB_SWEEP_LOCK, "1", nx=True, ex=_SWEEP_PERIOD_S):
        services.blobs.sweep()


DUTIES: tuple[Duty, ...] = (
    _end_expiring,
    _recover_orphans,
    _give_back_expired,
    _release_held,
    _sweep_outbox,
    _sweep_deliveries,
    _prune_history,
    _sweep_blobs,
)


async def run_maintenance(services: Services) -> None:
    """Every PERIOD_S, for as long as the process lives, unless another replica was first."""
    while True:
        await asyncio.sleep(PERIOD_S)
        try:
            await run_in_threadpool(run_duties, services)
        except Exception:  # no thread to be had, for instance: another time, then
            log.exception("housekeeping")


def run_duties(services: Services) -> bool:
    """One round. False: another replica has this period, or Redis cannot be reached."""
    try:
        mine = services.redis.set(keys.MAINTENANCE_LOCK, "1", nx=True, px=int(PERIOD_S * 1000))
    except RedisError as error:
        log.warning("housekeeping: %s", error)
        return False
    if not mine:
        return False
    for duty in DUTIES:
        try:
            duty(services)
        except (RedisError, BlobsUnavailable) as error:
            log.warning("housekeeping: %s: %s", duty.__name__, error)
        except Exception:
            # A fault in one must end neither the others nor the loop.
            log.exception("housekeeping: %s", duty.__name__)
    return True
