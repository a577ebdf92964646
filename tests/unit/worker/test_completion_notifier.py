"""Everybody is told of every request that has ended, whatever dies in between."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from rq.timeouts import JobTimeoutException

from app.core.errors import GenerationFailed
from app.core.history.base import Query
from app.core.lifecycle.background_jobs import BackgroundJob, sweep_outbox
from app.core.queueing.jobs import FINISH, WEBHOOKS
from app.core.requests.record import RequestRecord, Stage
from worker import completion_notifier as job
from worker.runtime import Runtime
from worker.stage import run_stage

OWNER = "a"
PARAMS = {"prompt": "p", "seed": 7}
HOOK = {"url": "https://a.example/", "origin": "https://b.example"}


def submit(context: Runtime, number: int = 0, webhook: dict[str, str] | None = None) -> str:
    request_id = f"{number:032x}"
    expires_at = context.requests.expiry()
    context.requests.submit(request_id, OWNER, PARAMS, {"kind": "file"}, expires_at, webhook)
    return request_id


def kept(context: Runtime) -> list[str]:
    page = context.history.page(Query(OWNER, since=0, until=2**33))
    return sorted(row.request_id for row in page.rows)


@pytest.mark.parametrize("good", [True, False])
def test_who_ends_a_request_calls_for_the_telling(worker_runtime: Runtime, good: bool) -> None:
    request_id = submit(worker_runtime)
    for stage in Stage:
        run_stage(request_id, stage, lambda *_: {} if good else {}["a fault"])
    assert [name for name in worker_runtime.jobs.queue(FINISH).job_ids if name.startswith("tell-")]
    job.notify()
    assert kept(worker_runtime) == [request_id]
    row = worker_runtime.history.of_request(OWNER, request_id)[0]
    assert row.status == ("COMPLETED" if good else "FAILED")
    assert len(worker_runtime.outbox) == 0


def test_a_crash_before_the_call_loses_nothing(worker_runtime: Runtime) -> None:
    request_id = submit(worker_runtime)
    worker_runtime.requests.fail(request_id, GenerationFailed("no"))  # and nobody calls
    waiting = worker_runtime.jobs.queue(FINISH)
    assert waiting.count == 0
    sweep_outbox(worker_runtime.outbox, worker_runtime.background_jobs)
    assert waiting.count == 1
    waiting.jobs[0].perform()
    assert kept(worker_runtime) == [request_id]


def test_a_crash_while_telling_tells_again_and_nobody_minds(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = submit(worker_runtime, webhook=HOOK)
    worker_runtime.requests.fail(request_id, GenerationFailed("no"))

    def die(_ids: Sequence[str]) -> None:
        raise SystemExit

    with monkeypatch.context() as crash:
        crash.setattr(type(worker_runtime.outbox), "remove", lambda _self, ids: die(ids))
        with pytest.raises(SystemExit):
            job.notify()
    job.notify()
    assert kept(worker_runtime) == [request_id]
    assert worker_runtime.deliveries.take(10) == [request_id]
    assert len(worker_runtime.outbox) == 0


def test_one_listener_that_fails_is_told_later_and_keeps_nobody(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request_id = submit(worker_runtime)
    worker_runtime.requests.fail(request_id, GenerationFailed("no"))
    told: list[str] = []
    away = True

    def first(_context: Runtime, _ended: Sequence[RequestRecord]) -> None:
        if away:
            raise ConnectionError

    def second(_context: Runtime, ended: Sequence[RequestRecord]) -> None:
        told.extend(record.id for record in ended)

    monkeypatch.setattr(job, "LISTENERS", (first, second))
    job.notify()
    assert (told, worker_runtime.outbox.ids()) == ([request_id], [request_id])
    assert caplog.messages == ["first: 1 ended requests wait"]
    away = False
    job.notify()
    assert len(worker_runtime.outbox) == 0


@pytest.mark.parametrize(("ended", "batches"), [(100, [100]), (101, [100, 1])])
def test_a_hundred_at_a_time_are_told(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, ended: int, batches: list[int]
) -> None:
    told: list[int] = []
    monkeypatch.setattr(job, "LISTENERS", (lambda _context, records: told.append(len(records)),))
    for number in range(ended):
        worker_runtime.requests.fail(submit(worker_runtime, number), GenerationFailed("no"))
    job.notify()
    assert told == batches
    assert len(worker_runtime.outbox) == 0


def test_a_job_that_takes_too_long_has_told_nobody(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RQ ends it in the middle of a listener; the next one tells again."""

    def slow(_context: Runtime, _ended: Sequence[RequestRecord]) -> None:
        raise JobTimeoutException

    request_id = submit(worker_runtime)
    worker_runtime.requests.fail(request_id, GenerationFailed("no"))
    monkeypatch.setattr(job, "LISTENERS", (slow,))
    with pytest.raises(JobTimeoutException):
        job.notify()
    assert worker_runtime.outbox.ids() == [request_id]


def test_a_webhook_is_put_down_and_called_for(worker_runtime: Runtime) -> None:
    request_id = submit(worker_runtime, webhook=HOOK)
    submit(worker_runtime, 1)
    worker_runtime.requests.fail(request_id, GenerationFailed("no"))
    job.notify()
    delivery = worker_runtime.deliveries.get(request_id)
    assert delivery is not None
    assert (delivery.owner, delivery.url) == (OWNER, HOOK["url"])
    assert json.loads(delivery.body)["type"] == "request.failed"
    assert len(worker_runtime.jobs.queue(WEBHOOKS).job_ids) == 1


def test_a_webhook_that_cannot_be_written_keeps_no_other(
    worker_runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    broken = submit(worker_runtime, 1, {**HOOK, "url": "https://a.example/\ud800"})
    sound = submit(worker_runtime, 2, HOOK)
    for request_id in (broken, sound):
        worker_runtime.requests.fail(request_id, GenerationFailed("no"))
    job.notify()
    assert worker_runtime.deliveries.get(sound) is not None
    assert worker_runtime.deliveries.get(broken) is None
    assert len(worker_runtime.outbox) == 0
    assert caplog.messages == [f"request {broken}: its webhook cannot be made"]


def test_no_days_no_history(worker_runtime: Runtime) -> None:
    worker_runtime.settings = worker_runtime.settings.model_copy(update={"history_days": 0})
    worker_runtime.requests.fail(submit(worker_runtime), GenerationFailed("no"))
    job.notify()
    assert kept(worker_runtime) == []
    assert len(worker_runtime.outbox) == 0


def test_what_ends_while_one_tells_calls_for_another(worker_runtime: Runtime) -> None:
    worker_runtime.background_jobs.request(BackgroundJob.NOTIFY)
    job.notify()
    worker_runtime.background_jobs.request(BackgroundJob.NOTIFY)
    assert worker_runtime.jobs.waiting(FINISH) == 2
