"""The worker processes: `python -m app.cli worker KIND`, one kind a queue (WORKERS).

Order for the gpu: signals -> load the checkpoint -> warm up -> register with RQ -> work; being
registered is what readiness means. Exit codes: 0 when asked to stop, 70 when a job was stuck
(gpu_worker), 71 when the device is lost (generate), 78 when the checkpoint of a gpu worker or the
content filter of a finish worker cannot be loaded.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from PIL import Image
from redis.exceptions import RedisError
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from app.core.queueing.jobs import CPU, FETCH, FINISH, GPU, WEBHOOKS
from app.core.queueing.workers import name_here
from app.core.system.exit import EXIT_CONFIG
from models.errors import CheckpointError
from worker.fetch_worker import FetchWorker
from worker.forking_worker import ForkingWorker, PrepareWorker
from worker.in_process_worker import InProcessWorker
from worker.lease import BEAT_S
from worker.library_logging import silence_libraries
from worker.runtime import runtime

log = logging.getLogger(__name__)

# RQ's block on an idle queue lasts worker_ttl - 15 s, and maintenance (taking up the jobs of dead
# workers) only runs between blocks: short values keep recovery short.
WORKER_TTL_S = 17
MAINTENANCE_INTERVAL_S = 2
_ANEW_S = 1

# Decoding and encoding give way to whoever drives a GPU, to Redis and to the api.
NICENESS = 10


def run_fetch() -> int:
    """Downloads: nothing but waiting for others, many at the same time."""
    _import("worker.fetch", "worker.abandoned")
    return _work(FetchWorker, FETCH)


def run_cpu() -> int:
    """prepare, the decoding of pictures."""
    os.nice(NICENESS)
    _import("worker.prepare", "worker.abandoned")  # before the fork: each work horse starts at once
    Image.init()  # and finds every decoder imported
    gc.freeze()  # a collection in a work horse would copy every page of what was imported
    return _work(PrepareWorker, CPU)


def run_finish() -> int:
    """finish, and the telling of what has ended. What it encodes is ours: no need to fork."""
    os.nice(NICENESS)
    _import("worker.finish", "worker.ended", "worker.abandoned")
    Image.init()
    if runtime().settings.content_filter:
        from worker.content_filter import load_filter

        try:
            runtime().content_filter = load_filter(runtime().settings)
        except CheckpointError as error:
            log.error("%s", error)
            return EXIT_CONFIG
    return _work(InProcessWorker, FINISH)


def run_webhooks() -> int:
    """The sending of webhooks: nothing but waiting for others."""
    _import("worker.webhooks")
    return _work(ForkingWorker, WEBHOOKS)


def run_gpu() -> int:
    """generate: the checkpoint is loaded once, before the worker can be given a job."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    silence_libraries()
    from worker.gpu_worker import GpuWorker
    from worker.model import load_checkpoint, measured

    context = runtime()
    try:
        context.checkpoint = load_checkpoint(context.settings)
    except CheckpointError as error:
        log.error("%s", error)
        return EXIT_CONFIG
    context.meter.device = measured(context.checkpoint)
    return _work(GpuWorker, GPU)


WORKERS: dict[str, Callable[[], int]] = {
    FETCH: run_fetch,
    CPU: run_cpu,
    GPU: run_gpu,
    FINISH: run_finish,
    WEBHOOKS: run_webhooks,
}


def _import(*modules: str) -> None:
    for module in modules:
        importlib.import_module(module)


def _leave(_signum: int, _frame: FrameType | None) -> None:
    """While loading nothing is in hand: leave at once instead of at the end of the load."""
    sys.exit(0)


def _work(worker_class: type[BaseWorker], queue_name: str) -> int:
    """RQ's loop until it is asked to stop. It ends with every error of Redis that outlasts the
    retries (no memory, no room on the disk); what was loaded is kept, and the loop begins anew.
    """
    context = runtime()
    # RQ tells of every maintenance round at "info".
    quiet = context.settings.log_level == "info"
    level = "WARNING" if quiet else context.settings.log_level.upper()
    while True:
        worker = None
        try:
            worker = _worker(worker_class, queue_name)
            worker.work(logging_level=level)
        except RedisError as error:
            log.error("redis: %s", error)
        if worker is not None and worker._shutdown_requested_date:
            return 0
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, _leave)  # RQ's handlers speak to the loop that has ended
        log.error("the work loop ended; it begins anew in %d s", _ANEW_S)
        time.sleep(_ANEW_S)


def _worker(worker_class: type[BaseWorker], queue_name: str) -> BaseWorker:
    context = runtime()
    return worker_class(
        [queue_name],
        name=name_here(queue_name),
        connection=context.redis,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL_S,
        maintenance_interval=MAINTENANCE_INTERVAL_S,
        job_monitoring_interval=BEAT_S,
    )
