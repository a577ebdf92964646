"""The worker processes, tested from the outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO, cast

import pytest
from redis import Redis

from app.core.queueing.jobs import CPU, Jobs
from app.core.redis.connection import connect
from app.core.settings import Settings
from app.core.system.exit import EXIT_CONFIG
from tests.support.servers import ROOT, environment, running_redis
from tests.support.waiting import until
from worker import main
from worker.in_process_worker import InProcessWorker
from worker.lease import BEAT_S
from worker.runtime import Runtime


def worker_names(redis: Redis) -> set[bytes]:
    return cast(set[bytes], redis.smembers("rq:workers"))


def until_the_work_loop_restarts(redis: Redis, log: TextIO, process: subprocess.Popen[str]) -> None:
    redis.config_set("maxmemory", 1)
    while "it restarts in" not in log.readline():
        assert process.poll() is None


def test_a_worker_survives_a_full_redis(tmp_path: Path) -> None:
    """The process stays alive, and it still ends on SIGTERM meanwhile."""
    command = [sys.executable, "-m", "app.cli", "worker", "cpu"]
    with running_redis(tmp_path / "redis") as url, connect(url) as redis:
        jobs = Jobs(redis, 3600)
        settings = environment(REDIS_URL=url)
        process = subprocess.Popen(
            command, cwd=ROOT, env=settings, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        with cast(TextIO, process.stderr) as log:
            until(lambda: jobs.workers(CPU) == 1)
            until_the_work_loop_restarts(redis, log, process)
            before = worker_names(redis)
            redis.config_set("maxmemory", 0)
            until(lambda: bool(worker_names(redis) - before))
            until_the_work_loop_restarts(redis, log, process)
            process.terminate()
            log.read()
        assert process.wait(60) == 0


def test_a_content_filter_that_cannot_be_loaded_stops_the_worker(
    worker_runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail closed: without its filter the worker would deliver every picture."""
    worker_runtime.settings = Settings(content_filter=str(tmp_path / "nothing"))
    monkeypatch.setattr(os, "nice", lambda _: None)  # the process is the tests'
    monkeypatch.setattr("models.classifier.torch.set_num_threads", lambda _: None)
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "0")
    assert main.run_finish() == EXIT_CONFIG


def test_a_worker_renews_leases_and_runs_maintenance_every_two_seconds(
    worker_runtime: Runtime,
) -> None:
    """RQ blocks on an idle queue for worker_ttl - 15 s."""
    worker = main._worker(InProcessWorker, "gpu")
    assert (worker.worker_ttl, worker.dequeue_timeout) == (17, 2)
    assert (worker.maintenance_interval, worker.job_monitoring_interval) == (2, 2)
    assert worker.job_monitoring_interval == BEAT_S
    assert worker.connection is worker_runtime.redis
    assert worker.queue_names() == ["gpu"]
    assert worker.name.startswith("gpu-")


def test_each_queue_has_its_kind_of_worker() -> None:
    assert {queue: start.__name__ for queue, start in main.WORKERS.items()} == {
        "fetch": "run_fetch",
        "cpu": "run_cpu",
        "gpu": "run_gpu",
        "finish": "run_finish",
        "webhooks": "run_webhooks",
    }
