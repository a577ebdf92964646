"""`scripts/up` as a process: restarts, signals, and the files that it leaves."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from redis import Redis

from app.core.system.exit import EXIT_CONFIG
from app.core.system.memory import memory_limit
from tests.support.pictures import astronaut, base64_of
from tests.support.servers import (
    ROOT,
    Server,
    environment,
    free_port,
    running_server,
    start_server,
)
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(600)


def processes_of(server: Server) -> dict[int, str]:
    """Living processes whose environment or command line names this server's data directory."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line, environ = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(server.data_dir).encode() in line + b"\0" + environ:
            found[int(entry.name)] = line.replace(b"\0", b" ").decode()
    return found


def pids_of(server: Server, command: str) -> set[int]:
    return {pid for pid, line in processes_of(server).items() if command in line}


def submit(server: Server, **changes: object) -> str:
    """The id of a request that a kill of Redis does not lose any more."""
    body = {"image": base64_of(astronaut((128, 128))), "prompt": "x", "steps": 15, **changes}
    url = f"{server.url}/v2/flux-controlnet"
    answer = httpx.post(url, json=body, headers=server.headers, timeout=60)
    assert answer.status_code == 200, answer.text
    with Redis.from_url(server.redis_url) as redis:
        # While the disk is busy Redis answers up to 2 s before it writes.
        until(lambda: redis.info("persistence")["aof_buffer_length"] == 0, "Redis to write")
    return str(answer.json()["request_id"])


def status(server: Server, request_id: str) -> str:
    url = f"{server.url}/v2/requests/{request_id}/status"
    answer = httpx.get(url, headers=server.headers, timeout=60)
    return str(answer.json().get("status", answer.text))


def next_line(server: Server) -> str:
    """What the server prints after its ready line."""
    assert server.process.stdout is not None
    return server.process.stdout.readline().rstrip()


def refused_start(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`up` with something that it cannot start with; it must end by itself."""
    stopped = subprocess.run(
        [sys.executable, "-m", "app.cli", "up", *arguments],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert stopped.returncode != 0
    assert "Traceback" not in stopped.stderr
    return stopped


def until_completed(server: Server, request_id: str, what: str) -> None:
    until(lambda: status(server, request_id) == "COMPLETED", what, 200)


def until_replaced(server: Server, command: str, killed: set[int]) -> None:
    until(lambda: ready(server) and bool(pids_of(server, command) - killed), command)


def ready(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/health/ready", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


LONG = {"steps": 75, "samples": 2, "use_input_img_dimension": False, "cn_stop": 1.0}


def stopped_in_a_job(server: Server, signum: signal.Signals) -> tuple[str, str]:
    """Two requests, one in hand and one behind it, of a server that is stopped meanwhile. Nothing
    of it is left when this returns."""
    running = submit(server, custom_width=256, custom_height=256, **LONG)
    waiting = submit(server)
    until(lambda: status(server, running) == "PROCESSING", "the job to begin")
    os.kill(server.process.pid, signum)
    server.process.wait(60)
    assert server.process.stdout is not None
    server.process.stdout.close()
    until(lambda: not processes_of(server), "no process to be left", 30)
    return running, waiting


def test_stopping_during_jobs_leaves_no_process_and_loses_no_request(tmp_path: Path) -> None:
    """A folder in three lives. Its key is printed when it is new, or when that is asked for; the
    address of the playground has the key only then."""
    first = start_server(tmp_path / "data", GRACE_S="2")
    interrupted = stopped_in_a_job(first, signal.SIGINT)

    second = start_server(tmp_path / "data", "--show-key")
    assert second.printed.endswith(f"  key: {first.key}")
    assert next_line(second) == f"open: {second.url}/#key={first.key}"
    for request_id in interrupted:
        until_completed(second, request_id, f"{request_id} to end")
    killed = stopped_in_a_job(second, signal.SIGKILL)

    secret = "SG_" + "7" * 32
    settings = {"API_KEY": secret, "REDIS_MAXMEMORY": "256mb"}
    with running_server(tmp_path / "data", **settings) as third:
        assert third.key == secret
        assert third.printed == f"ready: {third.url}  key: SG_7777..."
        assert next_line(third) == f"open: {third.url}/"
        assert httpx.get(f"{third.url}/v2/requests/x", headers=third.headers).status_code == 404
        for pid, line in processes_of(third).items():
            assert secret not in line
            if pid != third.process.pid:
                assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        with Redis.from_url(third.redis_url) as redis:
            assert redis.info("memory")["maxmemory"] == 256 * 2**20
        for request_id in killed:  # they are those of the folder's own key
            until_completed(replace(third, key=first.key), request_id, f"{request_id} to end")
        assert secret not in third.log.read_text()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server beside whose data are `pictures`, `history.sqlite`, `tmp` and, where a link in its
    data leads to, `outside`."""
    folder = tmp_path_factory.mktemp("served")
    # As servers before left it; what a link leads to is somebody else's.
    old = folder / "data" / "old"
    old.mkdir(mode=0o755, parents=True)
    (old / "file").touch(0o644)
    outside = folder / "outside"
    outside.touch()
    outside.chmod(0o644)
    (old / "link").symlink_to(outside)
    (folder / "data").chmod(0o755)
    (folder / "tmp").mkdir()
    settings = {
        "TMPDIR": str(folder / "tmp"),
        "BLOB_URL": f"file://{folder}/pictures",
        "DATABASE_URL": f"sqlite:///{folder}/history.sqlite",
    }
    with running_server(folder / "data", **settings) as server:
        yield server
    assert server.process.returncode == 0


def test_the_data_folder_is_private_and_serves_one_server(served: Server, tmp_path: Path) -> None:
    folder = served.data_dir.parent
    second = refused_start("--data-dir", str(served.data_dir))
    assert "in use by another server" in second.stderr
    port = served.url.rpartition(":")[2]
    third = refused_start("--port", port, "--data-dir", str(tmp_path / "other"))
    [line] = third.stderr.splitlines()
    assert line.startswith(f"up: cannot listen on 127.0.0.1:{port}: Address already in use")
    file = served.data_dir / "api-key"
    assert file.read_text().strip() == served.key
    assert httpx.get(f"{served.url}/v2/requests/x", timeout=60).status_code == 401
    with Redis.from_url(served.redis_url) as redis:
        assert 0 < redis.info("memory")["maxmemory"] <= memory_limit() / 4
    listed = subprocess.run(
        [sys.executable, "-m", "app.cli", "keys", "list"],
        env=environment(TMPDIR=str(folder / "tmp")),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "  default  " in listed.stdout  # without REDIS_URL and DATA_DIR
    until_completed(served, submit(served), "a picture")
    until((folder / "history.sqlite").exists, "the history to be written")
    for place in (served.data_dir, folder / "pictures", folder / "history.sqlite"):
        for path in (place, *place.rglob("*")):
            assert path.is_symlink() or not path.stat().st_mode & 0o077, path
    assert stat.S_IMODE((folder / "outside").stat().st_mode) == 0o644


def test_a_child_that_dies_is_restarted_and_its_job_is_recovered(served: Server) -> None:
    for command in ("worker gpu", "worker cpu", "worker finish", "app.cli api", "redis-server"):
        request_id = submit(served)
        killed = pids_of(served, command)
        for pid in killed:
            with suppress(ProcessLookupError):  # a work horse may have ended by itself
                os.kill(pid, signal.SIGKILL)
        until_replaced(served, command, killed)
        until_completed(served, request_id, f"after {command}")


def test_a_model_that_cannot_be_served_here_ends_the_start(tmp_path: Path) -> None:
    stopped = refused_start(
        *("--checkpoint", "flux-dev-union-pro"),
        *("--data-dir", str(tmp_path / "d"), "--port", str(free_port())),
        CUDA_VISIBLE_DEVICES="",
    )
    assert stopped.returncode == EXIT_CONFIG
    assert "checkpoint flux-dev-union-pro needs a GPU and no CUDA device is seen" in stopped.stderr


def test_bad_settings_stop_the_start_with_one_line(tmp_path: Path) -> None:
    for arguments, settings in (
        (["--checkpoint", "sdxl"], {}),
        ([], {"CHECKPOINT": "sdxl"}),
        ([], {"MAX_PIXELS": "many"}),
    ):
        stopped = refused_start("--data-dir", str(tmp_path / "d"), *arguments, **settings)
        assert stopped.stderr.startswith("settings: ")
        assert stopped.stderr.count("\n") == 1
