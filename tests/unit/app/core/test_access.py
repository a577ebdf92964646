"""A Redis that refuses is told from one that is not there yet."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from redis import Redis

from app.core.access import require_access
from app.core.settings import EXIT_CONFIG


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
    assert "does not answer yet" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
