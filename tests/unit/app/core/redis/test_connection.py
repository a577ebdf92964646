"""Redis by URL, alone or with Sentinels, and the errors when it is unavailable."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from app.core.redis.connection import check_redis_url, connect, connect_async, what_is_wrong
from app.standalone.embedded_redis import redis_command
from tests.support.servers import free_port
from tests.support.waiting import until


@dataclass
class Watched:
    """Two Redis servers, the second a copy of the first, and a Sentinel that watches them."""

    url: str
    master: subprocess.Popen[bytes]
    ports: tuple[int, int]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    binary = redis_command(tmp_path)[0]
    first, second, port = free_port(), free_port(), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor pictures 127.0.0.1 {first} 1\n"
        "sentinel auth-pass pictures open@sesame\n"
        "sentinel down-after-milliseconds pictures 1000\n"
    )
    password = ["--requirepass", "open@sesame", "--masterauth", "open@sesame"]
    commands = [
        [binary, "--port", str(first), "--save", "", *password],
        [
            *(binary, "--port", str(second), "--save", "", *password),
            *("--replicaof", "127.0.0.1", str(first)),
        ],
        [binary, str(config), "--sentinel", "--port", str(port)],
    ]
    processes = []
    with ExitStack() as stack:
        for number, command in enumerate(commands):
            folder = tmp_path / str(number)
            folder.mkdir()
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
            processes.append(process)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
        sentinel = stack.enter_context(Redis(port=port))
        until(lambda: replicates(sentinel))
        url = f"redis+sentinel://:open%40sesame@127.0.0.1:9,127.0.0.1:{port}/pictures/0"
        yield Watched(url, processes[0], (first, second))


def replicates(sentinel: Redis) -> bool:
    """The Sentinel has seen that the second server is a copy of the first."""
    try:
        [replica] = sentinel.execute_command("SENTINEL", "REPLICAS", "pictures")
    except (RedisError, ValueError):
        return False
    return bool(replica[b"master-link-status"] == b"ok")


def test_sentinels_lead_to_the_master_also_after_the_first_one_has_died(
    watched: Watched,
) -> None:
    """A Sentinel that does not answer is passed over."""
    with connect(watched.url) as redis:
        redis.set("kept", 1)
        assert redis.wait(1, 5000) == 1
        assert port_of(redis) == watched.ports[0]
        watched.master.kill()
        until(lambda: port_of(redis) == watched.ports[1])
        assert redis.get("kept") == b"1"
        redis.set("written", 1)


def port_of(redis: Redis) -> int:
    """0 while no server answers: on a busy machine a fail-over outlasts the client's patience."""
    try:
        return int(redis.info("server")["tcp_port"])
    except RedisConnectionError:
        return 0


@pytest.mark.parametrize("make", [connect, connect_async])
def test_the_parts_of_a_sentinel_url_are_read(make: Callable[[str], Redis]) -> None:
    pool: Any = make("redis+sentinel://ann:p%3Aw@a,b:7/service/3").connection_pool
    assert pool.service_name == "service"
    kwargs = pool.connection_kwargs
    assert (kwargs["username"], kwargs["password"], kwargs["db"]) == ("ann", "p:w", 3)
    asked = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"]) for one in asked] == [("a", 26379), ("b", 7)]


@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://a", "redis+sentinel:///s", "redis+sentinel://a/s/x", "redis+sentinel://,/s"],
)
def test_a_sentinel_url_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="HOST"):
        check_redis_url(url)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://ann:s3cr3t#x@h:1/0", "percent-encode the password"),
        ("redis://ann:s3cr3t/x@h:1/0", "percent-encode the password"),
        ("redis://ann:s3cr3t[x@h:1/0", "percent-encode the password"),
        ("redis://ann:123#s3cr3t@h:1/0", "percent-encode the password"),
        ("redis://ann:123/s3cr3t@h:1/0", "percent-encode the password"),
        ("redis://ann:s3cr3t@h:99999/0", "correct the port"),
        ("unix://data/redis.sock", "must be unix:///ABSOLUTE/PATH"),
        ("unix://", "must be unix:///ABSOLUTE/PATH"),
        ("rediss://ann:s3cr3t@h:1/0?ssl_nonsense=1", "does not fit: 'ssl_nonsense'"),
        ("rediss://h?ssl_cert_reqs=bad", "does not fit: .*: bad"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        check_redis_url(url)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["redis://h", "redis://:p%23@[::1]:7/3", "unix:///a/b@c?db=1", "rediss://h?ssl_cert_reqs=none"],
)
def test_a_url_that_can_be_read_is_taken(url: str) -> None:
    assert check_redis_url(url) == url


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RedisConnectionError("Error 111 connecting"), "cannot be reached (Error 111 connecting)"),
        (AuthenticationError("invalid username-password pair"), "refuses the login"),
        (ResponseError("NOAUTH Authentication required."), "refuses the login"),
        (OutOfMemoryError("command not allowed"), "is full; raise its maxmemory"),
        (ResponseError("MISCONF Errors writing"), "cannot write its file; make room on its disk"),
        (ReadOnlyError("You can't write"), "is a replica; name the master, or the Sentinels"),
        (BusyLoadingError("Redis is loading"), "still reads its file; wait until it has"),
    ],
)
def test_a_connection_error_names_the_address_and_no_password(error: RedisError, text: str) -> None:
    said = what_is_wrong(error, "rediss://ann:secret@cache:6380/1?ssl_cert_reqs=none")
    assert said.startswith("Redis at rediss://cache:6380/1 ")
    assert text in said
    assert "secret" not in said
