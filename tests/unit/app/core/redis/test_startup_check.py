"""The start-up check distinguishes a Redis that refuses from one that is not up yet."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from app.core.redis.startup_check import client_without_retries, connected_client, require_access
from app.core.system.exit import EXIT_CONFIG
from tests.support.servers import running_redis


@pytest.fixture
def guest(redis_server: str) -> Iterator[str]:
    """URL without a password, for a user who has one."""
    with Redis.from_url(redis_server) as redis:
        redis.acl_setuser("guest", enabled=True, passwords=["+right"], commands=["+ping"])
        yield redis_server
        redis.acl_deluser("guest")


def test_the_right_password_passes(guest: str) -> None:
    require_access(guest.replace("unix://", "unix://guest:right@"))


def test_a_wrong_password_stops_the_start_with_one_line(guest: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        require_access(guest.replace("unix://", "unix://guest:wrong@"))
    assert "REDIS_PASSWORD" in str(stopped.value)
    assert "/run/secrets/redis_password" in str(stopped.value)
    assert "wrong@" not in str(stopped.value)
    assert "\n" not in str(stopped.value)
    assert stopped.value.code == EXIT_CONFIG


def test_a_redis_that_is_not_there_is_waited_for_later(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        require_access("unix:///nowhere/redis.sock")
    assert "does not respond yet" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[str]:
    """URL of a Redis that wants a password, which is `right`."""
    with running_redis(tmp_path / "redis") as url:
        with Redis.from_url(url) as redis:
            redis.config_set("requirepass", "right")
        yield url


@pytest.mark.parametrize(
    ("password", "begins"),
    [("", "Redis wants a password: set it in "), (":wrong@", "Redis refuses the password: ")],
)
def test_a_missing_password_is_distinguished_from_a_wrong_one(
    closed: str, password: str, begins: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        require_access(closed.replace("unix://", f"unix://{password}"))
    assert str(stopped.value).startswith(begins)


def test_a_command_has_its_answer_or_an_error_within_five_seconds(redis_server: str) -> None:
    client = client_without_retries(redis_server)
    given = client.get_connection_kwargs()
    assert (given["socket_timeout"], given["retry"].get_retries()) == (5, 0)
    client.close()


def test_a_command_is_given_a_redis_that_has_answered(redis_server: str) -> None:
    with connected_client(redis_server) as client:
        assert client.ping()
    with pytest.raises(RedisError):
        connected_client("unix:///nowhere/redis.sock")
