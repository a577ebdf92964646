"""`doctor`: its findings about Redis, the disk, the blob store and the image hosts."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from app import VERSION
from app.cli import main
from app.core.findings import Finding, Level
from app.core.settings import Settings
from app.core.storage.stored_outputs import OutputUsage, StoredOutputs
from app.doctor.machine import examine_hosts, examine_machine
from app.doctor.records import examine_redis
from tests.support.pictures import PictureHost
from tests.support.servers import running_redis
from tests.support.waiting import until


def of_redis(url: str) -> dict[str, Finding]:
    return {one.what: one for one in examine_redis(Settings(redis_url=url))}


def test_a_redis_as_it_should_be(redis_server: str, redis: Redis) -> None:
    redis.config_set("maxmemory", "1gb")
    try:
        found = of_redis(redis_server)
    finally:
        redis.config_set("maxmemory", 0)
    without = {f"{kind} workers" for kind in ("fetch", "cpu", "gpu", "finish", "webhook")}
    assert {what for what, one in found.items() if one.level is not Level.OK} == without
    assert "python -m app.cli worker gpu" in found["gpu workers"].remedy
    assert "python -m app.cli worker webhooks" in found["webhook workers"].remedy
    assert list(redis.scan_iter()) == []


@pytest.mark.parametrize(
    ("setting", "value", "what", "level", "remedy"),
    [
        ("maxmemory-policy", "allkeys-lru", "redis eviction", Level.FAIL, "noeviction"),
        ("maxmemory", "0", "redis memory", Level.WARN, "set maxmemory"),
        ("maxmemory", "1000000", "redis memory", Level.WARN, "BLOB_URL"),
    ],
)
def test_a_redis_that_may_lose_requests(
    redis_server: str,
    redis: Redis,
    setting: str,
    value: str,
    what: str,
    level: Level,
    remedy: str,
) -> None:
    before = redis.config_get(setting)[setting]
    redis.config_set(setting, value)
    try:
        found = of_redis(redis_server)[what]
    finally:
        redis.config_set("maxmemory", 0)
        redis.config_set(setting, before)
    assert found.level is level
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("info", "level", "remedy"),
    [
        ({"aof_enabled": 0}, Level.WARN, "--appendonly yes"),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, Level.FAIL, "make room"),
        ({"aof_enabled": 1, "rdb_last_bgsave_status": "err"}, Level.FAIL, "make room"),
    ],
)
def test_a_redis_that_does_not_write_down_what_it_is_given(
    redis_server: str,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    info: dict[str, Any],
    level: Level,
    remedy: str,
) -> None:
    server_info = {**redis.info(), **info}
    monkeypatch.setattr(Redis, "info", lambda _self: server_info)
    found = of_redis(redis_server)["redis persistence"]
    assert found.level is level
    assert remedy in found.remedy


def test_a_redis_that_cannot_write_is_looked_at_although_it_refuses_a_ping(tmp_path: Path) -> None:
    with running_redis(tmp_path / "data") as url, Redis.from_url(url) as redis:
        (tmp_path / "data" / "redis" / "dump.rdb").mkdir()  # where its file belongs
        redis.config_set("save", "900 1")
        redis.bgsave()
        until(lambda: redis.info("persistence")["rdb_last_bgsave_status"] == "err")
        with pytest.raises(ResponseError, match="MISCONF"):
            redis.ping()
        found = of_redis(url)
        settings = Settings(redis_url=url, data_dir=tmp_path)
        pictures = {one.what: one for one in examine_machine(settings)}["pictures"]
        redis.config_set("save", "")  # it would not end before it has saved
    assert found["redis persistence"].said == "its file cannot be written"
    assert "cpu workers" in found
    assert pictures.level is Level.FAIL


@pytest.mark.parametrize(("ahead_s", "level"), [(0.2, "ok"), (-2, "warn"), (30, "fail")])
def test_clocks_that_differ(
    redis_server: str, redis: Redis, monkeypatch: pytest.MonkeyPatch, ahead_s: float, level: str
) -> None:
    seconds, micros = redis.time()
    there = seconds + micros / 1e6
    monkeypatch.setattr("app.doctor.records.time.time", lambda: there - ahead_s)
    monkeypatch.setattr(Redis, "time", lambda _self: (seconds, micros))
    found = of_redis(redis_server)["clock"]
    assert found.level == level
    assert ("behind" if ahead_s < 0 else "ahead") in found.said


def test_no_redis_is_one_finding() -> None:
    [found] = examine_redis(Settings(redis_url="redis://:secret@127.0.0.1:9/0"))
    assert found.level is Level.FAIL
    assert "secret" not in found.said
    assert found.remedy == "start it, or correct REDIS_URL"


def test_the_disk_and_the_store_of_pictures(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def found(blob_url: str) -> dict[str, Finding]:
        settings = Settings(redis_url=redis_server, blob_url=blob_url, data_dir=tmp_path / "new")
        return {one.what: one for one in examine_machine(settings)}

    for url in ("redis", f"file://{tmp_path}/blobs"):
        assert found(url)["pictures"].said == f"{url}: stored, read and removed"
    (tmp_path / "file").touch()
    bad = found(f"file://{tmp_path}/file/x")["pictures"]
    assert bad.level is Level.FAIL
    assert "Not a directory" in bad.said

    class Usage:
        free = 1e8

    monkeypatch.setattr("app.doctor.machine.shutil.disk_usage", lambda _: Usage)
    assert found("redis")["disk"].level is Level.FAIL


@pytest.mark.parametrize(
    ("usage", "changes", "level", "said"),
    [
        ((2, 3_000_000, 10**9, 10**9), {}, Level.OK, "7 days, at most 1000 MB"),
        ((2, 3_000_000, None, None), {}, Level.OK, "7 days, without a limit"),
        ((2, 950, 1000, 10**9), {}, Level.WARN, "the oldest are removed before that"),
        ((2, 100, 10**10, 10**9), {}, Level.WARN, "10000 MB, of which 1000 MB are free"),
        ((2, 950, 1000, 50), {"output_ttl_s": 60}, Level.OK, "they expire with their request"),
    ],
)
def test_what_finished_pictures_take(
    redis_server: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    usage: tuple[int, int, int | None, int | None],
    changes: dict[str, Any],
    level: Level,
    said: str,
) -> None:
    monkeypatch.setattr(StoredOutputs, "usage", lambda _self: OutputUsage(*usage))
    settings = Settings(
        redis_url=redis_server, blob_url=f"file://{tmp_path}/blobs", data_dir=tmp_path, **changes
    )
    found = {one.what: one for one in examine_machine(settings)}["finished pictures"]
    assert found.level is level
    assert found.said.startswith(f"{usage[1] / 1e6:.0f} MB of 2 requests; ")
    assert found.said.endswith(said)
    assert ("OUTPUT_QUOTA_BYTES" in found.remedy) is (level is Level.WARN)


def test_the_database_is_checked_if_one_is_configured(redis_server: str, tmp_path: Path) -> None:
    def found(url: str) -> Finding:
        settings = Settings(redis_url=redis_server, database_url=url, data_dir=tmp_path)
        return {one.what: one for one in examine_machine(settings)}["database"]

    assert found(f"sqlite:///{tmp_path}/history").level is Level.OK
    bad = found("postgresql://ann:secret@127.0.0.1:9/pictures")
    assert bad.level is Level.FAIL
    assert "connection" in bad.said
    assert "secret" not in bad.said
    assert bad.remedy == "start the database, or correct DATABASE_URL"


def test_the_hosts_of_pictures(host: PictureHost) -> None:
    url = host.serve("/photo.png", b"bytes")
    allowed = Settings(fetch_allow_hosts="127.0.0.1")  # type: ignore[arg-type]
    [good] = examine_hosts(allowed, [url])
    assert good.said.startswith(f"{url}: 5 bytes in ")
    [bad] = examine_hosts(Settings(), [url])
    assert bad.level is Level.FAIL
    assert "FETCH_ALLOW_HOSTS" in bad.remedy


@pytest.mark.parametrize("as_json", [False, True])
def test_the_exit_code_and_both_forms(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    redis_server: str,
    as_json: bool,
) -> None:
    def model(*_: Any) -> list[Finding]:
        return [Finding("device", level, "here", "a remedy")]

    monkeypatch.setenv("REDIS_URL", redis_server)
    monkeypatch.setattr("worker.doctor.examine_model", model)
    for level, code in ((Level.OK, 0), (Level.FAIL, 1)):
        assert main(["doctor", *(["--json"] if as_json else [])]) == code
        printed = capsys.readouterr().out
        if as_json:
            last = {"what": "device", "level": level, "said": "here", "remedy": "a remedy"}
            assert json.loads(printed)[-1] == last
            first = json.loads(printed)[0]
            assert (first["what"], first["level"]) == ("server", Level.OK)
            assert first["said"] == f"{VERSION}, Python {platform.python_version()}"
        else:
            assert printed.startswith(f"ok    server: {VERSION}, Python ")
            assert printed.endswith(f"{level:4}  device: here -> a remedy\n")


def test_an_assumed_card_is_all_that_is_looked_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def plans(_settings: Settings, card: float, ram: float | None) -> list[Finding]:
        asked.append((card, ram))
        return [Finding("memory plan", level, "8-bit")]

    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9")
    monkeypatch.setattr("worker.doctor.examine_assumed", plans)
    for level, code in ((Level.WARN, 0), (Level.FAIL, 1)):
        assert main(["doctor", "--assume-card", "24", "--assume-ram", "31.5"]) == code
        assert capsys.readouterr().out == f"{level:4}  memory plan: 8-bit\n"
    main(["doctor", "--assume-card", "24"])
    assert asked == [(24.0, 31.5), (24.0, 31.5), (24.0, None)]


@pytest.mark.parametrize("size", ["24 GB", "-1", "nan", "1e3", ""])
def test_an_assumed_size_is_a_number_of_gigabytes(
    capsys: pytest.CaptureFixture[str], size: str
) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", f"--assume-card={size}"])
    assert "is not a number of GB such as 24" in capsys.readouterr().err


def test_assumed_ram_alone_is_refused() -> None:
    with pytest.raises(SystemExit, match="--assume-ram needs --assume-card"):
        main(["doctor", "--assume-ram", "24"])
