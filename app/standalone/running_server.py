"""Which servers of `up` run in this checkout, and the settings of commands that belong to one.

A server names its DATA_DIR in a private file, which it keeps locked: the lock ends with its
process, however that ends. So the commands need neither REDIS_URL nor DATA_DIR.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.core.settings import Settings
from app.core.system.exit import refuse
from app.core.system.private_files import private_folder
from app.standalone.embedded_redis import has_own_redis, redis_socket, redis_url

log = logging.getLogger(__name__)

_CHECKOUT = Path(__file__).resolve().parents[2]


@contextmanager
def announced(data_dir: Path) -> Iterator[None]:
    """Let running_servers() find the server on this folder until the end of the block."""
    try:
        file = (_folder() / _digest(data_dir)).open("w")
    except OSError as error:  # a convenience: the server runs without it
        log.warning("commands need DATA_DIR=%s to find this server: %s", data_dir, error)
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(str(data_dir))
        file.flush()
        try:
            yield
        finally:
            Path(file.name).unlink(missing_ok=True)


def running_servers() -> list[Path]:
    """The data folders of the servers of this checkout and this user that run now."""
    try:
        files = sorted(_folder().iterdir())
    except OSError as error:  # the folder is another user's, or nothing can be written
        log.debug("servers of this checkout: %s", error)
        return []
    return [folder for file in files if (folder := _locked_by_server(file)) is not None]


def _locked_by_server(path: Path) -> Path | None:
    """The data folder in a file of announced(); None if its server has ended."""
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Path(file.read())
    except OSError as error:  # the server ends right now
        log.debug("%s: %s", path, error)
    return None


def of_running_server(settings: Settings) -> Settings:
    """The settings with the DATA_DIR of the server that runs in this checkout and, unless they name
    a Redis, with its Redis. Unchanged if none runs. A DATA_DIR that they name selects the server;
    exits with one line if none is named and several run."""
    data_dir = _data_dir(settings)
    found: dict[str, Any] = {"data_dir": data_dir}
    if has_own_redis(settings) and _listens(redis_socket(data_dir)):
        found["redis_url"] = redis_url(data_dir)
    return settings.model_copy(update=found)


def _data_dir(settings: Settings) -> Path:
    own = settings.data_dir.resolve()
    if "data_dir" in settings.model_fields_set:
        return own
    running = running_servers()
    if own in running or not running:
        return own
    if len(running) > 1:
        names = ", ".join(map(str, running))
        refuse(f"several servers run in this checkout; name one in DATA_DIR: {names}")
    return running[0]


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _folder() -> Path:
    name = f"flux-controlnet-servers-{os.getuid()}-{_digest(_CHECKOUT)}"
    return private_folder(Path(tempfile.gettempdir()) / name)


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
