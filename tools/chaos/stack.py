"""The stack: the real processes of one server, with a stub of the model in the gpu workers.

Starts Redis with its append-only file, the api and the workers, restarts a process that dies as a
supervisor does, and stops all of them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from app.core.accounts.api_keys import KeyStore, mint
from app.core.queueing.jobs import CPU, FETCH, FINISH, GPU, Jobs
from app.core.redis.connection import connect
from app.standalone.embedded_redis import redis_command, redis_url
from tests.support.servers import free_port
from tools.chaos.balancer import Balancer, is_ready
from tools.chaos.namespaces import NamespaceHosts
from tools.chaos.network import Network, Place, ProxiedHosts
from tools.chaos.part import Part

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """How many processes, and how long the stub of the model takes for a picture. With several
    apis clients go through a load balancer; with hosts the workers are spread over as many."""

    gpu_workers: int = 2
    cpu_workers: int = 2
    fetch_workers: int = 1
    finish_workers: int = 1
    apis: int = 1
    hosts: int = 0
    picture_s: float = 0.4
    settings: dict[str, str] = field(default_factory=dict)
    redis_options: tuple[str, ...] = ()


class Stack:
    """parts by name: redis, api, api-1, ..., and the workers: fetch-0, cpu-0, cpu-1, ..."""

    def __init__(self, folder: Path, shape: Shape, network: Network) -> None:
        self._folder, self._shape, self.network = folder, shape, network
        self.redis_url = redis_url(folder)
        self.key = mint()
        self.ports = [free_port() for _ in range(shape.apis)]
        self._balancer = Balancer(self.ports) if shape.apis > 1 else None
        front = self._balancer.port if self._balancer else self.ports[0]
        self.url = f"http://{network.api.address}:{front}"
        self.parts: dict[str, Part] = {}
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")

    def part(self, name: str) -> Part:
        return self.parts[name]

    def workers(self, kind: str) -> list[Part]:
        return [part for name, part in self.parts.items() if name.startswith(kind)]

    def redis(self) -> Redis:
        return connect(self.redis_url)

    def registered(self) -> int:
        """How many workers are ready for jobs."""
        with self.redis() as redis:
            jobs = Jobs(redis, 0)
            return sum(jobs.workers(queue) for queue in (FETCH, CPU, GPU, FINISH))

    @property
    def hired(self) -> int:
        """How many workers there should be."""
        shape = self._shape
        return shape.fetch_workers + shape.cpu_workers + shape.gpu_workers + shape.finish_workers

    def whole(self) -> bool:
        """Whether every process that should be there would do its work."""
        try:
            return all(map(is_ready, self.ports)) and self.registered() >= self.hired
        except RedisError:
            return False

    def append_only_size(self) -> int:
        return (self._folder / "redis" / "appendonly.aof").stat().st_size

    def log(self) -> str:
        """What all processes have written."""
        return (self._folder / "log").read_text(errors="replace")

    def start(self) -> None:
        local = Place(self.redis_url)
        options = [*self.network.redis_options, *self._shape.redis_options]
        self._add("redis", [*redis_command(self._folder), *options], local)
        with self.redis() as redis:
            KeyStore(redis).add(self.key, "chaos")
        cli = [sys.executable, "-m", "app.cli"]
        api = self.network.api
        for number, port in enumerate(self.ports):
            name = f"api-{number}" if number else "api"
            self._add(name, [*cli, "api", "--host", api.address, "--port", str(port)], api)
        for kind, count in (
            (FETCH, self._shape.fetch_workers),
            (CPU, self._shape.cpu_workers),
            (FINISH, self._shape.finish_workers),
        ):
            for number in range(count):
                self._add(f"{kind}-{number}", [*cli, "worker", kind], self._host(number))
        program = [sys.executable, "-m", "tools.chaos.stub_worker"]
        for number in range(self._shape.gpu_workers):
            command = [*program, str(self._shape.picture_s)]
            self._add(f"gpu-{number}", command, self._host(number))
        self._keeper.start()

    def end(self) -> None:
        self._over.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        if self._balancer is not None:
            self._balancer.close()
        for part in reversed(self.parts.values()):
            part.end()

    def _host(self, worker: int) -> Place:
        return self.network.hosts[worker % len(self.network.hosts)]

    def _add(self, name: str, command: Sequence[str], place: Place) -> None:
        settings = {
            "REDIS_URL": place.redis_url,
            "DATA_DIR": str(self._folder),
            "FETCH_ALLOW_HOSTS": self.network.outside,
            "RESUME_EVERY_S": "0.1",
            "OMP_NUM_THREADS": "1",
            "DRAIN_S": "0.5",
            **self._shape.settings,
        }
        log = self._folder / "log"
        self.parts[name] = Part(name, [*place.prefix, *command], settings, log)

    def _keep(self) -> None:
        # A child dies with the thread that started it, so this thread lives as long as the stack.
        while not self._over.wait(_POLL_S):
            for part in list(self.parts.values()):
                part.revive()


@contextmanager
def running_stack(folder: Path, shape: Shape, namespaces: bool = False) -> Iterator[Stack]:
    """namespaces: the shape's hosts are network namespaces; SystemExit where there can be none."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    network = _network(redis_url(folder), shape.hosts, namespaces)
    try:
        stack = Stack(folder, shape, network)
        try:
            stack.start()
            yield stack
        finally:
            stack.end()
    finally:
        network.close()


def _network(redis_url: str, hosts: int, namespaces: bool) -> Network:
    if not hosts:
        return Network(redis_url)
    return NamespaceHosts(redis_url, hosts) if namespaces else ProxiedHosts(redis_url, hosts)
