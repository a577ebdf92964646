"""What a container's health check finds: the process of this host, or what is wrong with it."""

from __future__ import annotations

import pytest
from redis import Redis
from rq import Queue, Worker

from app import cli
from app.commands.health import api_illness, worker_illness
from app.core.queueing.jobs import CPU, GPU, WEBHOOKS
from app.core.queueing.workers import is_here, name_here
from tests.support.servers import Server, free_port


def test_a_running_server_is_well(server: Server) -> None:
    assert api_illness(int(server.url.rpartition(":")[2])) is None
    assert worker_illness(server.redis_url) is None


def test_an_api_that_is_not_there_is_ill() -> None:
    assert "does not answer" in str(api_illness(free_port()))


def test_a_worker_that_redis_has_not_heard_of_is_ill(redis_server: str) -> None:
    assert "no worker of this host" in str(worker_illness(redis_server))


@pytest.mark.parametrize("queue", [CPU, GPU, WEBHOOKS])
def test_a_worker_of_this_host_is_well_whatever_its_queue(redis_server: str, queue: str) -> None:
    with Redis.from_url(redis_server) as redis:
        worker = Worker([Queue(queue, connection=redis)], name=name_here(queue), connection=redis)
        worker.register_birth()
        try:
            assert worker_illness(redis_server) is None
        finally:
            worker.register_death()


def test_health_without_redis_is_unknown() -> None:
    assert "Redis cannot be asked" in str(worker_illness("unix:///nowhere/redis.sock"))


def test_the_command_answers_with_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], redis_server: str
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server)
    assert cli.main(["health", "worker"]) == 1
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("host", ["box", "gpu-box-2"])
def test_a_worker_is_known_by_its_host(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    name = name_here("gpu")
    assert is_here(name)
    monkeypatch.setattr("socket.gethostname", lambda: "gpu")
    assert not is_here(name)
