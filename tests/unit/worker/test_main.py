"""The worker processes from the outside."""

from __future__ import annotations

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
from worker import in_process_worker, main
from worker.in_process_worker import InProcessWorker
from worker.runtime import Runtime


def worker_names(redis: Redis) -> set[bytes]:
    return cast(set[bytes], redis.smembers("rq:workers"))


def until_it_begins_anew(redis: Redis, said: TextIO, process: subprocess.Popen[str]) -> None:
    redis.config_set("maxmemory", 1)
    while "begins anew" not in said.readline():
        assert process.poll() is None


def test_a_worker_outlives_a_redis_that_is_full(tmp_path: Path) -> None:
    """With all that it has loaded; told to leave meanwhile, it leaves."""
    command = [sys.executable, "-m", "app.cli", "worker", "cpu"]
    with running_redis(tmp_path / "redis") as url, connect(url) as redis:
        jobs = Jobs(redis, 3600)
        settings = environment(REDIS_URL=url)
        process = subprocess.Popen(
            command, cwd=ROOT, env=settings, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        with cast(TextIO, process.stderr) as said:
            until(lambda: jobs.workers(CPU) == 1)
            until_it_begins_anew(redis, said, process)
            before = worker_names(redis)
            redis.config_set("maxmemory", 0)
            until(lambda: bool(worker_names(redis) - before))
            until_it_begins_anew(redis, said, process)
            process.terminate()
            said.read()
        assert process.wait(60) == 0


def test_a_content_filter_that_cannot_be_loaded_stops_the_worker(
    worker_runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather no worker than one that lets every picture pass."""
    worker_runtime.settings = Settings(content_filter=str(tmp_path / "nothing"))
    monkeypatch.setattr(main.os, "nice", lambda _: None)  # the process is the tests'
    monkeypatch.setattr("models.classifier.torch.set_num_threads", lambda _: None)
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "0")
    assert main.run_finish() == EXIT_CONFIG


def test_a_worker_beats_and_looks_for_dead_ones_every_two_seconds(worker_runtime: Runtime) -> None:
    """RQ blocks on an idle queue for the time of a worker less fifteen seconds."""
    worker = main._worker(InProcessWorker, "gpu")
    assert (worker.worker_ttl, worker.dequeue_timeout) == (17, 2)
    assert (worker.maintenance_interval, worker.job_monitoring_interval) == (2, 2)
    assert worker.job_monitoring_interval == in_process_worker.BEAT_S
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
