"""The worker processes: `python -m app.cli worker KIND`, one kind per queue (WORKERS).

Order of a gpu worker: signals -> load the checkpoint -> warm up -> register with RQ -> work. A
registered worker is ready. Exit codes: 0 after a requested stop, 70 when a job was stuck
(in_process_worker), 71 when the device is lost, 78 when the checkpoint of a gpu worker or the
content filter of a finish worker cannot be loaded or warmed up: a restart would read 40 GB and fail
again.
"""

from __future__ import annotations

import atexit
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
from models.errors import CheckpointError, DeviceLost, ModelError
from worker import torch_environment
from worker.fetch_worker import FetchWorker
from worker.forking_worker import ForkingWorker, PrepareWorker
from worker.in_process_worker import InProcessWorker
from worker.lease import BEAT_S
from worker.library_logging import silence_libraries
from worker.runtime import runtime
from worker.startup import AnnouncedStartup

log = logging.getLogger(__name__)

# RQ blocks on an idle queue for worker_ttl - 15 s, and maintenance (the recovery of dead workers'
# jobs) runs only between two blocks: short values keep recovery fast.
WORKER_TTL_S = 17
MAINTENANCE_INTERVAL_S = 2
_RESTART_BACKOFF_S = 1

# Decoding and encoding yield the CPU to gpu workers, Redis and the api.
NICENESS = 10


def run_fetch() -> int:
    """Run the fetch worker: many concurrent downloads, almost no CPU."""
    _import("worker.fetch", "worker.abandoned")
    return _work(FetchWorker, FETCH)


def run_cpu() -> int:
    """Run a prepare worker: decodes pictures."""
    os.nice(NICENESS)
    _import("worker.prepare", "worker.abandoned")  # before the fork, so that work horses need not
    Image.init()  # imports every decoder
    gc.freeze()  # a collection in a work horse would copy every page of the imported modules
    return _work(PrepareWorker, CPU)


def run_finish() -> int:
    """Run a finish worker: encodes pictures and notifies listeners. Its input is trusted, so it
    does not fork."""
    os.nice(NICENESS)
    _import("worker.finish", "worker.ended", "worker.abandoned")
    Image.init()
    if runtime().settings.content_filter:
        from worker.content_filter import load_filter

        try:
            runtime().content_filter = load_filter(runtime().settings)
        except CheckpointError as error:
            return _refused(error, EXIT_CONFIG)
    return _work(InProcessWorker, FINISH)


def run_webhooks() -> int:
    """Run the webhooks worker: sends webhooks, almost no CPU."""
    _import("worker.webhooks")
    return _work(ForkingWorker, WEBHOOKS)


def run_gpu() -> int:
    """Run a gpu worker: loads the checkpoint once, before RQ can assign a job."""
    signal.signal(signal.SIGTERM, _exit_at_once)
    signal.signal(signal.SIGINT, _exit_at_once)
    context = runtime()
    with AnnouncedStartup(context.redis, context.settings.checkpoint) as startup:
        torch_environment.prepare(context.settings.data_dir)
        silence_libraries()
        # What an import makes stays alive; collections would take a fifth of the time of these.
        gc.disable()
        from worker.generate import EXIT_DEVICE_LOST
        from worker.gpu_worker import GpuWorker
        from worker.model import load_checkpoint, metered_device

        gc.freeze()
        atexit.register(gc.unfreeze)  # else triton's bindings list all that is left as leaks
        gc.enable()
        try:
            context.checkpoint = load_checkpoint(context.settings)
        except DeviceLost as error:
            return _refused(error, EXIT_DEVICE_LOST)
        except CheckpointError as error:
            return _refused(error, EXIT_CONFIG)
        context.meter.device = metered_device(context.checkpoint)
        startup.ready()
    return _work(GpuWorker, GPU)


WORKERS: dict[str, Callable[[], int]] = {
    FETCH: run_fetch,
    CPU: run_cpu,
    GPU: run_gpu,
    FINISH: run_finish,
    WEBHOOKS: run_webhooks,
}


def _refused(error: ModelError, exit_code: int) -> int:
    """The exit code of a worker that cannot start. Its log has one line, and the traceback only at
    level debug."""
    log.error("%s", error)
    log.debug("the traceback of this error:", exc_info=error)
    return exit_code


def _import(*modules: str) -> None:
    for module in modules:
        importlib.import_module(module)


def _exit_at_once(_signum: int, _frame: FrameType | None) -> None:
    """No job is in flight while the checkpoint loads, so exit without waiting for the load."""
    sys.exit(0)


def _work(worker_class: type[BaseWorker], queue_name: str) -> int:
    """Run RQ's loop until the process is asked to stop. Errors of Redis that outlast the retries
    (out of memory, disk full) end RQ's loop; it is restarted with the checkpoint still loaded.
    """
    context = runtime()
    # RQ logs every maintenance round at "info".
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
            signal.signal(signum, _exit_at_once)  # RQ's handlers belong to the loop that has ended
        log.error("the work loop ended; it restarts in %d s", _RESTART_BACKOFF_S)
        time.sleep(_RESTART_BACKOFF_S)


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
