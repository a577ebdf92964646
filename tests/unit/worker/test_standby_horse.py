"""The standby work horse, which is forked before its job is known."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from app.core.queueing.jobs import CPU
from app.core.requests.record import Stage
from tests.support.waiting import until
from worker import prepare
from worker.forking_worker import PrepareWorker
from worker.runtime import Runtime
from worker.standby_horse import StandbyHorse

FIRST, SECOND = "a" * 32, "b" * 32


@pytest.fixture
def pids(worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two jobs are queued; each writes its process id to this file."""
    file = tmp_path / "pids"

    def job(_request_id: str) -> None:
        with file.open("a") as out:
            out.write(f"{os.getpid()}\n")

    monkeypatch.setattr(prepare, "prepare", job)
    for request_id in (FIRST, SECOND):
        worker_runtime.jobs.enqueue(request_id, Stage.PREPARE)
    return file


@pytest.fixture
def worker(worker_runtime: Runtime) -> Iterator[PrepareWorker]:
    worker = PrepareWorker([CPU], connection=worker_runtime.redis, serializer=JSONSerializer)
    yield worker
    worker.teardown()


def standby(worker: PrepareWorker) -> int:
    assert worker._standby is not None
    return worker._standby.pid


def status(context: Runtime, request_id: str) -> JobStatus:
    job = context.jobs.queue(CPU).fetch_job(f"{request_id}-prepare")
    assert job is not None
    return job.get_status()


def test_each_job_runs_in_its_own_standby_horse(
    worker: PrepareWorker, worker_runtime: Runtime, pids: Path
) -> None:
    expected = []
    for request_id in (FIRST, SECOND):
        job_and_queue = worker.dequeue_job_and_maintain_ttl(None)
        assert job_and_queue is not None
        expected.append(standby(worker))
        worker.execute_job(*job_and_queue)
        assert status(worker_runtime, request_id) is JobStatus.FINISHED
    assert pids.read_text().split() == [str(pid) for pid in expected]
    assert len({os.getpid(), *expected}) == 3
    assert not worker.executions


def test_a_standby_horse_that_has_died_is_replaced_by_a_fork(
    worker: PrepareWorker, worker_runtime: Runtime, pids: Path
) -> None:
    job_and_queue = worker.dequeue_job_and_maintain_ttl(None)
    assert job_and_queue is not None
    dead_pid = standby(worker)
    os.kill(dead_pid, signal.SIGKILL)
    until(lambda: "Z" in Path(f"/proc/{dead_pid}/stat").read_text().rpartition(")")[2])
    worker.execute_job(*job_and_queue)
    assert status(worker_runtime, FIRST) is JobStatus.FINISHED
    assert pids.read_text().strip() not in ("", str(dead_pid))


def test_a_worker_dismisses_its_standby_horse_when_it_stops(worker: PrepareWorker) -> None:
    assert worker.dequeue_job_and_maintain_ttl(None) is None
    pid = standby(worker)
    assert Path(f"/proc/{pid}").exists()
    worker.teardown()
    assert not Path(f"/proc/{pid}").exists()


def test_a_standby_horse_that_cannot_get_ready_exits(capfd: pytest.CaptureFixture[str]) -> None:
    def ready() -> None:
        raise OSError("no connection")

    horse = StandbyHorse(ready, lambda *_: sys.exit(0))
    until(lambda: "Z" in Path(f"/proc/{horse.pid}/stat").read_text().rpartition(")")[2])
    assert not horse.give("job", "execution")
    assert capfd.readouterr().out == ""
