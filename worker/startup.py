"""Announces a gpu worker while it loads and warms up its checkpoint."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from redis import Redis
from redis.exceptions import RedisError

from app.core.queueing.jobs import GPU
from app.core.queueing.startups import Startup
from app.core.queueing.workers import name_here
from worker.lease import BEAT_S

log = logging.getLogger(__name__)


class AnnouncedStartup:
    """A thread renews the announcement within the block. Without ready() it expires."""

    def __init__(self, redis: Redis, checkpoint: str) -> None:
        self._startup = Startup(redis, name_here(GPU), checkpoint)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="startup", daemon=True)

    def __enter__(self) -> AnnouncedStartup:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()  # without join(): a worker that is asked to stop does so at once

    def ready(self) -> None:
        """The worker registers with RQ next."""
        self._stopped.set()
        self._thread.join()  # or a late renewal would count it twice
        try:
            self._startup.ready()
        except RedisError:
            log.debug("the end of the start was not recorded", exc_info=True)

    def _renew(self) -> None:
        while not self._stopped.is_set():
            try:
                self._startup.beat()
            except RedisError:
                log.debug("the start was not announced", exc_info=True)
            self._stopped.wait(BEAT_S)
