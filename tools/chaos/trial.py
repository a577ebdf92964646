"""Runs one scenario from start to verdict: a stack, its clients, and a fault at a random moment.

The verdict follows when every accepted request has ended.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from app.core.queueing.jobs import Jobs
from tests.support.servers import wait_for_http
from tools.chaos.clients import THREADS, Clients
from tools.chaos.host import Host, running_host
from tools.chaos.orders import inline_pictures, orders
from tools.chaos.part import Part
from tools.chaos.recovery import RecoveryTimer, open_requests, until_in_flight
from tools.chaos.stack import Shape, Stack, running_stack
from tools.chaos.verdict import Verdict, judge, usage_faults

_STARTING_S = 90.0
_PATIENCE_S = 90.0
_POLL_S = 0.02


class Trial:
    """What a fault may touch. standing: seconds that requests stood still after the faults. faults:
    what is not as it must be; remark: what the table says instead of standing."""

    def __init__(
        self, stack: Stack, redis: Redis, clients: Clients, rng: random.Random, host: Host
    ) -> None:
        self.stack, self.redis, self.clients, self.rng = stack, redis, clients, rng
        self.host = host
        self.standing: list[float] = []
        self.faults: list[str] = []
        self.remark = ""

    def wait(self, least_s: float, most_s: float) -> None:
        """Until a moment drawn at random."""
        time.sleep(self.rng.uniform(least_s, most_s))

    def until_in_flight(self, part: Part) -> set[str]:
        """Wait for a drawn moment at which a worker has requests in hand; says which."""
        self.wait(0.3, 1.5)
        return until_in_flight(self.redis, part.pid)

    def strike(self, part: Part, signum: int) -> set[str]:
        """Signal a worker at a drawn moment while it has requests in hand; says which."""
        request_ids = self.until_in_flight(part)
        part.signal(signum)
        return request_ids

    def until_begun(self, queue: str) -> None:
        """Wait until a worker of this queue has a job."""
        started = Jobs(self.redis, 0).queue(queue).started_job_registry
        while not started.get_job_ids(cleanup=False):
            time.sleep(_POLL_S)

    def standing_requests(self) -> set[str]:
        """Those that were accepted and have not ended."""
        return open_requests(self.redis) & self.clients.accepted

    def measure(self, requests: Iterable[str], since: float) -> None:
        self.standing += RecoveryTimer(self.redis, requests, since).seconds()

    def strike_and_measure(self, part: Part, signum: int) -> None:
        request_ids = self.strike(part, signum)
        self.measure(request_ids, time.monotonic())


@dataclass(frozen=True, slots=True)
class Scenario:
    """may_fail: a pattern for the errors of requests to a hostile host; no other may fail.
    least: how many requests there are, whatever the command line says. may_refuse: whether a call
    may be answered with 503 or not at all. clients: how many there are beside the fault.
    """

    what: str
    fault: Callable[[Trial], None]
    shape: Shape = field(default_factory=Shape)
    may_fail: str = ""
    least: int = 0
    may_refuse: bool = True
    hostile_path: str = ""
    clients: int = THREADS


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: Verdict
    standing: list[float]
    remark: str
    refused: int
    seconds: float
    log: str


def run(scenario: Scenario, requests: int, seed: int, namespaces: bool = False) -> Outcome:
    """namespaces: hosts of the scenario's shape are network namespaces."""
    rng = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    began = time.monotonic()
    try:
        with ExitStack() as resources:
            stack = resources.enter_context(
                running_stack(folder / "data", scenario.shape, namespaces)
            )
            _wait_until_ready(stack)
            redis = resources.enter_context(stack.redis())
            host = resources.enter_context(running_host(stack.network.outside))
            hostile = host.origin + scenario.hostile_path if scenario.hostile_path else ""
            clients = Clients(
                stack.url,
                stack.key,
                orders(rng, inline_pictures(), host.pictures, hostile),
                max(requests, scenario.least) if scenario.clients else 0,
                scenario.clients,
            )
            trial = Trial(stack, redis, clients, rng, host)
            clients.start()
            scenario.fault(trial)
            clients.finish(_PATIENCE_S)
            verdict = judge(redis, clients.taken, scenario.may_fail)
            if clients.refused and not scenario.may_refuse:
                verdict.faults.append(f"{clients.refused} calls were refused")
            verdict.faults += trial.faults
            verdict.faults += usage_faults(redis, _PATIENCE_S)
            taken = time.monotonic() - began
            return Outcome(
                verdict, trial.standing, trial.remark, clients.refused, taken, stack.log()
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(stack: Stack) -> None:
    for port, part in zip(stack.ports, stack.workers("api"), strict=True):
        address = stack.network.api.address
        wait_for_http(port, "/health/ready", part.process, address)
    deadline = time.monotonic() + _STARTING_S
    while stack.registered() < stack.hired:
        if time.monotonic() > deadline:
            raise SystemExit(f"chaos: not all workers came up; log:\n{stack.log()}")
        time.sleep(0.1)
