"""The notifier: every listener gets every ended request at least once, whatever crashes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rq.timeouts import JobTimeoutException

from app.core.errors import GenerationFailed
from app.core.history.base import Query
from app.core.lifecycle.background_jobs import BackgroundJob, sweep_outbox
from app.core.queueing.jobs import FINISH, WEBHOOKS
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.types import GenerationParameters, Source, WebhookTarget
from worker import completion_notifier as job
from worker.runtime import Runtime
from worker.stage import run_stage

OWNER = "a"
PARAMS = GenerationParameters(prompt="p", seed=7)
HOOK = WebhookTarget("https://a.example/", "https://b.example")


def submit(context: Runtime, number: int = 0, webhook: WebhookTarget | None = None) -> str:
    request_id = f"{number:032x}"
    expires_at = context.requests.expiry()
    context.requests.submit(request_id, OWNER, PARAMS, Source(kind="file"), expires_at, webhook)
    return request_id


def history_ids(context: Runtime) -> list[str]:
    page = context.history.page(Query(OWNER, since=0, until=2**33))
    return sorted(row.request_id for row in page.rows)


@pytest.mark.parametrize("good", [True, False])
def test_ending_a_request_enqueues_the_notifier(worker_runtime: Runtime, good: bool) -> None:
    request_id = submit(worker_runtime)
    for stage in Stage:
        result = FinishResult() if stage is Stage.FINISH else StageResult()
        run_stage(request_id, stage, lambda *_, result=result: result if good else {}["a fault"])
    assert [name for name in worker_runtime.jobs.queue(FINISH).job_ids if name.startswith("tell-")]
    job.notify()
    assert history_ids(worker_runtime) == [request_id]
    row = worker_runtime.history.of_request(OWNER, request_id)[0]
    assert row.status == ("COMPLETED" if good else "FAILED")
    assert len(worker_runtime.outbox) == 0


def test_a_crash_before_the_notifier_is_enqueued_loses_no_notification(
    worker_runtime: Runtime,
) -> None:
    request_id = submit(worker_runtime)
    worker_runtime.requests.fail(request_id, GenerationFailed("no"))  # no notifier is enqueued
    waiting = worker_runtime.jobs.queue(FINISH)
    assert waiting.count == 0
    sweep_outbox(worker_runtime.outbox, worker_runtime.background_jobs)
    assert waiting.count == 1
    waiting.jobs[0].perform()
    assert history_ids(worker_runtime) == [request_id]


def test_a_crash_during_a_notification_repeats_it(
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
    assert history_ids(worker_runtime) == [request_id]
    assert worker_runtime.deliveries.take(10) == [request_id]
    assert len(worker_runtime.outbox) == 0


def test_a_listener_that_fails_is_notified_later_and_blocks_no_other_listener(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request_id = submit(worker_runtime)
    worker_runtime.requests.fail(request_id, GenerationFailed("no"))
    notified: list[str] = []
    away = True

    def first(_context: Runtime, _ended: Sequence[RequestRecord]) -> None:
        if away:
            raise ConnectionError

    def second(_context: Runtime, ended: Sequence[RequestRecord]) -> None:
        notified.extend(record.id for record in ended)

    monkeypatch.setattr(job, "LISTENERS", (first, second))
    job.notify()
    assert (notified, worker_runtime.outbox.ids()) == ([request_id], [request_id])
    assert caplog.messages == ["first failed: 1 ended requests wait"]
    away = False
    job.notify()
    assert len(worker_runtime.outbox) == 0


@pytest.mark.parametrize(("ended", "batches"), [(100, [100]), (101, [100, 1])])
def test_listeners_get_batches_of_a_hundred_requests(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, ended: int, batches: list[int]
) -> None:
    notified: list[int] = []
    monkeypatch.setattr(
        job, "LISTENERS", (lambda _context, records: notified.append(len(records)),)
    )
    for number in range(ended):
        worker_runtime.requests.fail(submit(worker_runtime, number), GenerationFailed("no"))
    job.notify()
    assert notified == batches
    assert len(worker_runtime.outbox) == 0


def test_a_notifier_that_times_out_leaves_its_entries_in_the_outbox(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RQ interrupts it inside a listener; the next job notifies again."""

    def slow(_context: Runtime, _ended: Sequence[RequestRecord]) -> None:
        raise JobTimeoutException

    request_id = submit(worker_runtime)
    worker_runtime.requests.fail(request_id, GenerationFailed("no"))
    monkeypatch.setattr(job, "LISTENERS", (slow,))
    with pytest.raises(JobTimeoutException):
        job.notify()
    assert worker_runtime.outbox.ids() == [request_id]


def test_a_webhook_is_stored_and_its_delivery_is_enqueued(worker_runtime: Runtime) -> None:
    request_id = submit(worker_runtime, webhook=HOOK)
    submit(worker_runtime, 1)
    worker_runtime.requests.fail(request_id, GenerationFailed("no"))
    job.notify()
    delivery = worker_runtime.deliveries.get(request_id)
    assert delivery is not None
    assert (delivery.owner, delivery.url) == (OWNER, HOOK.url)
    assert json.loads(delivery.body)["type"] == "request.failed"
    assert len(worker_runtime.jobs.queue(WEBHOOKS).job_ids) == 1


def test_a_webhook_that_cannot_be_serialised_blocks_no_other(
    worker_runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    broken = submit(worker_runtime, 1, replace(HOOK, url="https://a.example/\ud800"))
    sound = submit(worker_runtime, 2, HOOK)
    for request_id in (broken, sound):
        worker_runtime.requests.fail(request_id, GenerationFailed("no"))
    job.notify()
    assert worker_runtime.deliveries.get(sound) is not None
    assert worker_runtime.deliveries.get(broken) is None
    assert len(worker_runtime.outbox) == 0
    assert caplog.messages == [f"request {broken}: its webhook message cannot be built"]


def test_history_days_of_zero_write_no_history(worker_runtime: Runtime) -> None:
    worker_runtime.settings = worker_runtime.settings.model_copy(update={"history_days": 0})
    worker_runtime.requests.fail(submit(worker_runtime), GenerationFailed("no"))
    job.notify()
    assert history_ids(worker_runtime) == []
    assert len(worker_runtime.outbox) == 0


def test_a_request_that_ends_during_a_notification_enqueues_another_notifier(
    worker_runtime: Runtime,
) -> None:
    worker_runtime.background_jobs.request(BackgroundJob.NOTIFY)
    job.notify()
    worker_runtime.background_jobs.request(BackgroundJob.NOTIFY)
    assert worker_runtime.jobs.waiting(FINISH) == 2
