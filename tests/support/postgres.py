"""A PostgreSQL of its own for tests, from the programs of the Debian package `postgresql`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("initdb", "postgres", "pg_isready")
PLACES = tuple(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
"""Where Debian installs them, outside of PATH."""


def find_postgres(
    environment: Mapping[str, str] = os.environ, places: Sequence[Path] = PLACES
) -> dict[str, str]:
    """The programs by name. Skips the test on a machine without them, and fails it where they are
    required: with CI=true, as continuous integration sets it, or with REQUIRE_POSTGRES=1."""
    searched = os.pathsep.join([environment.get("PATH", ""), *map(str, places)])
    found = {name: shutil.which(name, path=searched) for name in PROGRAMS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        reason = (
            f"PostgreSQL is not installed: no {', '.join(missing)} in PATH or in "
            "/usr/lib/postgresql/*/bin (Debian package postgresql)"
        )
        if environment.get("CI") == "true" or environment.get("REQUIRE_POSTGRES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return {name: path for name, path in found.items() if path is not None}


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yields its URL. It listens on a socket in a folder of its own only."""
    programs = find_postgres()
    # Not below TMPDIR: the path of a socket is short, and another user must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="postgres", dir="/tmp"))
    as_user: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL}
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "nobody")
        as_user["user"] = "nobody"
    data = folder / "data"
    make = [programs["initdb"], "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync"]
    make += ["--no-locale", "-E", "UTF8"]  # whatever locale the tests run in
    serve = [programs["postgres"], "-D", str(data), "-k", str(folder), "-c", "listen_addresses="]
    serve += ["-c", "fsync=off", "-c", "logging_collector=off"]
    try:
        subprocess.run(make, check=True, **as_user)
        process = subprocess.Popen(serve, stderr=subprocess.DEVNULL, **as_user)
        try:
            _wait_until_ready(process, [programs["pg_isready"], "-q", "-h", str(folder)])
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            process.send_signal(signal.SIGINT)  # it does not wait for its clients
            process.wait(60)
    finally:
        shutil.rmtree(folder)


def _wait_until_ready(process: subprocess.Popen[bytes], ask: Sequence[str]) -> None:
    deadline = time.monotonic() + 60
    while subprocess.run(ask, check=False).returncode != 0:
        assert process.poll() is None, "PostgreSQL ended"
        assert time.monotonic() < deadline, "PostgreSQL did not start"
        time.sleep(0.05)
