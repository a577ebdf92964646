"""Webhooks: a receiver gets each one at least once, signed, with the same id in every attempt."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook

from app.core.lifecycle.background_jobs import BackgroundJob, sweep_deliveries
from app.core.queueing.jobs import WEBHOOKS
from app.core.webhooks.deliveries import Deliveries, Delivery, State
from tests.support.receivers import Posted, Receiver, receiver
from tests.support.servers import ROOT, environment
from worker import webhooks as job
from worker.runtime import Runtime

ID = "a" * 32
OWNER = "a"
BODY = '{"type":"request.completed","timestamp":"2026-01-01T00:00:00Z","data":{}}'


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    """A worker that may reach 127.0.0.1 and has no back-off: a failed delivery is due at once."""
    update = {"fetch_allow_hosts": ("127.0.0.1",)}
    worker_runtime.settings = worker_runtime.settings.model_copy(update=update)
    worker_runtime.deliveries = Deliveries(worker_runtime.redis, (0.0, 0.0), 10)
    return worker_runtime


@pytest.fixture
def listening() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def delivery(context: Runtime, request_id: str = ID) -> Delivery:
    stored = context.deliveries.get(request_id)
    assert stored is not None
    return stored


def verified(context: Runtime, posted: Posted) -> str:
    """The id of a message whose signature a receiver accepts."""
    secret = context.secrets.of(OWNER).current
    assert Webhook(secret).verify(posted.body, posted.headers) == json.loads(BODY)
    assert posted.headers["content-type"] == "application/json"
    return posted.headers["webhook-id"]


def test_a_receiver_that_is_down_gets_the_webhook_later(
    context: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "worker.webhooks")
    began = time.time()
    with socket.socket() as down:
        down.bind(("127.0.0.1", 0))
        port = down.getsockname()[1]
        context.deliveries.create(ID, OWNER, f"http://127.0.0.1:{port}/hook", BODY)
        job.deliver()
    assert delivery(context).state is State.PENDING
    with receiver(port) as up:
        job.deliver()
        assert verified(context, up.next()) == f"msg_{ID}"
    stored = delivery(context)
    assert stored.state is State.DELIVERED
    assert [attempt.status for attempt in stored.attempts] == [None, 204]
    for attempt in stored.attempts:
        assert began <= attempt.at <= time.time()
        assert attempt.duration_s is not None
        assert attempt.duration_s < 60
    sent = [
        f"webhook: {outcome}"
        for outcome in ("the receiver could not be reached", "answered with 204")
    ]
    assert caplog.messages == [f"{sent[0]}, pending", f"{sent[1]}, delivered"]
    assert stored.attempts[0].error == "the receiver could not be reached"
    assert not context.deliveries.due()


def test_every_attempt_sends_the_same_message_id(context: Runtime, listening: Receiver) -> None:
    listening.statuses = [500, 302]
    context.deliveries.create(ID, OWNER, listening.url, BODY)
    for _ in range(3):
        job.deliver()
    assert {verified(context, listening.next()) for _ in range(3)} == {f"msg_{ID}"}
    assert [attempt.status for attempt in delivery(context).attempts] == [500, 302, 204]


def test_a_killed_sender_leaves_an_open_attempt(context: Runtime, redis_server: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
        context.deliveries.create(ID, OWNER, url, BODY)
        settings = {"REDIS_URL": redis_server, "FETCH_ALLOW_HOSTS": "127.0.0.1"}
        sender = subprocess.Popen(
            [sys.executable, "-c", "from worker.webhooks import deliver; deliver()"],
            cwd=ROOT,
            env=environment(**settings),
        )
        listener.settimeout(60)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(4) == b"POST"
            sender.kill()
            sender.wait(60)
    stored = delivery(context)
    [attempt] = stored.attempts
    assert not attempt.ended
    assert (stored.state, attempt.status, attempt.error) == (State.PENDING, None, None)
    assert stored.next_at is not None
    assert stored.next_at - attempt.at == pytest.approx(15, abs=1)


def test_a_delivery_that_is_never_accepted_is_given_up(
    context: Runtime, listening: Receiver
) -> None:
    listening.statuses = [500] * 4
    context.deliveries.create(ID, OWNER, listening.url, BODY)
    for _ in range(4):
        job.deliver()
    assert delivery(context).state is State.GIVEN_UP
    assert len(delivery(context).attempts) == 3


def test_a_url_of_an_internal_host_is_refused_at_delivery_too(
    context: Runtime, listening: Receiver
) -> None:
    context.settings = context.settings.model_copy(update={"fetch_allow_hosts": ()})
    context.deliveries.create(ID, OWNER, listening.url, BODY)
    job.deliver()
    assert delivery(context).attempts[0].error == "the URL cannot be used: its port is not allowed"
    assert listening.idle


def test_a_silent_receiver_delays_no_other(context: Runtime, listening: Receiver) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        first, second = "1" * 32, "2" * 32
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        context.deliveries.create(first, OWNER, url, BODY)
        context.deliveries.create(second, OWNER, listening.url, BODY)
        context.settings = context.settings.model_copy(update={"webhook_timeout_s": 3})
        job.deliver()
    assert delivery(context, second).state is State.DELIVERED
    assert delivery(context, first).attempts[0].error == "no answer within 3 s"


@pytest.mark.parametrize(("due", "enqueued"), [(16, 0), (17, 1)])
def test_a_job_sends_sixteen_deliveries_and_enqueues_another_for_the_rest(
    context: Runtime, listening: Receiver, due: int, enqueued: int
) -> None:
    context.background_jobs.request(BackgroundJob.DELIVER)  # as when a webhook is created
    waiting = context.jobs.queue(WEBHOOKS)
    waiting.empty()
    for number in range(due):
        context.deliveries.create(f"{number:032x}", OWNER, listening.url, BODY)
    job.deliver()
    assert waiting.count == enqueued
    for rest_job in waiting.jobs:
        rest_job.perform()
    assert len({listening.next().headers["webhook-id"] for _ in range(due)}) == due
    assert not context.deliveries.due()


def test_the_sweep_enqueues_a_job_only_when_a_delivery_is_due(context: Runtime) -> None:
    sweep_deliveries(context.deliveries, context.background_jobs)
    assert context.jobs.waiting(WEBHOOKS) == 0
    context.deliveries.create(ID, OWNER, "https://a.example/", BODY)
    for _ in range(2):
        sweep_deliveries(context.deliveries, context.background_jobs)
    assert context.jobs.waiting(WEBHOOKS) == 1


def test_an_expired_delivery_is_dropped(context: Runtime) -> None:
    context.deliveries.create(ID, OWNER, "https://a.example/", BODY)
    context.redis.delete(f"webhook:{ID}")
    job.deliver()
    assert context.redis.zcard("webhooks:due") == 0
