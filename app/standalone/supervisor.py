"""The supervisor of `scripts/up`: Redis, the api and the workers as children of one process.

Starts the children, restarts those that die, and stops all of them, with their descendants, on
SIGINT, on SIGTERM or when it dies itself. Knows no request and no model.
"""

from __future__ import annotations

import http.client
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.accounts.api_keys import KeyStore
from app.core.egress.hosts import authority
from app.core.queueing.jobs import Jobs
from app.core.redis.connection import connect, what_is_wrong
from app.core.redis.startup_check import client_without_retries
from app.core.settings import Settings
from app.core.system.exit import EXIT_CONFIG, refuse
from app.core.system.processes import adopt_orphans, kill_children
from app.standalone.children import Child, stop
from app.standalone.data_dir import close_pictures, locked
from app.standalone.embedded_redis import (
    default_maxmemory,
    has_own_redis,
    last_log_line,
    redis_command,
    redis_log,
    redis_url,
)
from app.standalone.installation_key import InstallationKey, installation_key
from app.standalone.redis_repair import repair_command
from app.standalone.running_server import announced

log = logging.getLogger(__name__)

_RESTART_DELAY_S = 1.0
_POLL_S = 0.1
_REDIS_STOP_S = 10.0
_STOP_S = 5.0
_REDIS_STARTS = 3
_MIN_FREE_BYTES = 50e6


@dataclass(frozen=True, slots=True)
class UpOptions:
    """api_key: the configured one, if any. show_key: print the whole key even if it is not new."""

    host: str
    port: int
    api_key: str | None
    show_key: bool = False

    @property
    def authority(self) -> str:
        """host:port as in a URL."""
        return authority(self.host, self.port)

    @property
    def reachable_host(self) -> str:
        """A host that clients on this machine can connect to."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    def page_url(self, key: str) -> str:
        """The playground. The key goes into the fragment, which a browser sends to no server."""
        url = f"http://{authority(self.reachable_host, self.port)}/"
        return f"{url}#key={quote(key, safe='')}" if key else url


class Supervisor:
    def __init__(self, options: UpOptions, settings: Settings) -> None:
        self._options = options
        self._settings = settings
        self._data_dir = settings.data_dir.resolve()
        self._exit_code = 0
        self._stop = threading.Event()
        self._redis_url = settings.redis_url
        self._redis = None
        if has_own_redis(settings):
            self._redis_url = redis_url(self._data_dir)
            self._redis = self._redis_child()
        self._serving = [
            self._child("api", "api", "--host", options.host, "--port", str(options.port)),
            self._child("fetch worker", "worker", "fetch"),
            # Two, so that a picture that takes long to decode delays only its own key.
            self._child("cpu worker", "worker", "cpu"),
            self._child("cpu worker", "worker", "cpu"),
            self._child("finish worker", "worker", "finish"),
            self._child("gpu worker", "worker", "gpu"),
            self._child("webhook worker", "worker", "webhooks"),
        ]

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM. Exits with one line if the folder or the port is in use,
        the disk is full, or Redis does not work.

        Returns the exit code: 0, or EXIT_CONFIG if a child exits with EXIT_CONFIG.
        """
        with locked(self._data_dir, "up"), announced(self._data_dir):
            close_pictures(self._settings)
            self._check_room()
            self._check_port()
            signal.signal(signal.SIGINT, lambda *_: self._stop.set())
            signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
            adopt_orphans()
            try:
                self._serve()
            except RedisError as error:
                raise SystemExit(f"up: {what_is_wrong(error, self._redis_url)}") from None
            finally:
                self._stop_all()
        return self._exit_code

    def _serve(self) -> None:
        if self._redis is not None:
            if not self._start(self._redis):
                return
            # Workers of an earlier supervisor are dead, but still registered as alive.
            Jobs(connect(self._redis_url), self._settings.request_ttl_s).forget_workers()
        key = self._register_key()
        for child in self._serving:
            child.start()
        if self._wait_until(self._ready):
            shown = key.secret if key.minted or self._options.show_key else key.masked
            sys.stdout.write(f"ready: http://{self._options.authority}  key: {shown}\n")
            if self._settings.playground:
                handed_over = key.secret if shown == key.secret else ""
                sys.stdout.write(f"open: {self._options.page_url(handed_over)}\n")
            sys.stdout.flush()
            if shown != key.secret:
                log.info("the key is %s; --show-key prints it", key.file or "the given one")
        while not self._stop.wait(_POLL_S):
            self._restart_dead()

    def _start(self, redis: Child) -> bool:
        """True once Redis responds; False if a stop was requested first. Gives up after
        _REDIS_STARTS: an unreadable file, for example, would stop every further start."""
        for _ in range(_REDIS_STARTS):
            redis.start()
            while redis.alive:
                if self._stop.is_set():
                    return False
                if self._redis_answers():
                    return True
                self._stop.wait(_POLL_S)
        line, log_file = last_log_line(self._data_dir), redis_log(self._data_dir)
        remedy = ""
        if "-check-aof" in line:  # of Redis or Valkey, which not every installation has
            line = line.partition(":")[0]
            remedy = f"; `{repair_command(self._data_dir)}` keeps what comes before the damage"
        correct = f"see {log_file} and correct that"
        refuse(f"up: its Redis ends at once, saying {line!r}{remedy}; {correct}")

    def _wait_until(self, condition: Callable[[], bool]) -> bool:
        """True once `condition` holds; False if a stop was requested first."""
        while not self._stop.is_set():
            if condition():
                return True
            self._restart_dead()
            self._stop.wait(_POLL_S)
        return False

    def _restart_dead(self) -> None:
        now = time.monotonic()
        for child in [*([self._redis] if self._redis else []), *self._serving]:
            if child.process is None or child.alive:
                continue
            if child.process.returncode == EXIT_CONFIG:
                self._exit_code = EXIT_CONFIG
                self._stop.set()
            elif not child.restart_at:
                log.warning("%s ended with %s", child.name, child.process.returncode)
                child.restart_at = now + _RESTART_DELAY_S
            elif now >= child.restart_at:
                child.restart_at = 0.0
                child.start()

    def _redis_answers(self) -> bool:
        try:
            with client_without_retries(self._redis_url) as client:
                return bool(client.ping())
        except (RedisConnectionError, RedisTimeoutError):  # also while it loads its file
            return False

    def _check_room(self) -> None:
        """A Redis that cannot write exits or refuses all writes."""
        free = shutil.disk_usage(self._data_dir).free
        if free < _MIN_FREE_BYTES:
            refuse(
                f"up: {free / 1e6:.0f} MB are free for {self._data_dir}; make room, or set "
                "DATA_DIR to a folder on another disk"
            )

    def _check_port(self) -> None:
        """Another process on the port would answer the probes, and the api could not start."""
        family = socket.AF_INET6 if ":" in self._options.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._options.host, self._options.port))
            except OSError as error:
                refuse(f"up: cannot listen on {self._options.authority}: {error.strerror}")

    def _ready(self) -> bool:
        host, port = self._options.reachable_host, self._options.port
        connection = http.client.HTTPConnection(host, port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _register_key(self) -> InstallationKey:
        """The API key of this installation, registered in Redis."""
        key = installation_key(self._options.api_key, self._data_dir)
        KeyStore(connect(self._redis_url)).add(key.secret, "default")
        return key

    def _redis_child(self) -> Child:
        maxmemory = self._settings.redis_maxmemory
        if maxmemory is None:
            maxmemory = default_maxmemory()
        command = redis_command(self._data_dir, maxmemory)
        return Child("redis", command, _environment())

    def _child(self, name: str, *arguments: str) -> Child:
        environment = {
            # Spinning threads of a CPU model would starve the other children.
            "OMP_WAIT_POLICY": "PASSIVE",
            **_environment(),
            "REDIS_URL": self._redis_url,
            "DATA_DIR": str(self._data_dir),
            "CHECKPOINT": self._settings.checkpoint,
            "DRAIN_S": "0",  # no load balancer in front
        }
        return Child(name, [sys.executable, "-m", "app.cli", *arguments], environment)

    def _stop_all(self) -> None:
        """Redis last: the other children write to it until they exit."""
        stop(self._serving, signal.SIGTERM, self._settings.grace_s + _STOP_S)
        stop(self._serving, signal.SIGKILL, _STOP_S)
        if self._redis is not None:
            stop([self._redis], signal.SIGTERM, _REDIS_STOP_S)
            stop([self._redis], signal.SIGKILL, _STOP_S)
        kill_children()


def _environment() -> dict[str, str]:
    """This environment for a child, without API_KEY: no child needs it."""
    return {name: value for name, value in os.environ.items() if name.upper() != "API_KEY"}
