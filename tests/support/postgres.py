"""A PostgreSQL of its own for tests, on machines that have the program."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PLACES = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def _program(name: str) -> str | None:
    places = os.pathsep.join([os.environ.get("PATH", ""), *map(str, _PLACES)])
    return shutil.which(name, path=places)


AVAILABLE = all(_program(name) for name in ("initdb", "postgres", "pg_isready"))


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yields its URL. It listens on a socket in a folder of its own only."""
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    as_user: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL}
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "nobody")
        as_user["user"] = "nobody"
    data = folder / "data"
    make = ["initdb", "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync"]
    make += ["--no-locale", "--encoding=UTF8"]  # that of the tests may be one that is not there
    subprocess.run([_program(make[0]), *make[1:]], check=True, **as_user)  # type: ignore[list-item]
    serve = ["postgres", "-D", str(data), "-k", str(folder), "-c", "listen_addresses="]
    serve += ["-c", "fsync=off", "-c", "logging_collector=off"]
    process = subprocess.Popen(
        [str(_program(serve[0])), *serve[1:]], stderr=subprocess.DEVNULL, **as_user
    )
    try:
        deadline = time.monotonic() + 60
        ready = [str(_program("pg_isready")), "-q", "-h", str(folder)]
        while subprocess.run(ready, check=False).returncode != 0:
            assert process.poll() is None, "PostgreSQL ended"
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder)
