"""The scenarios: which fault is injected into a running stack, and when."""

from __future__ import annotations

import resource
import signal
import time

from redis import Redis
from redis.exceptions import RedisError

from tools.chaos.host import TRICKLE
from tools.chaos.neighbours import beside_bombs, beside_slow_host
from tools.chaos.recovery import in_flight, until_in_flight
from tools.chaos.stack import Shape
from tools.chaos.trial import Scenario, Trial
from worker.lease import LEASE_S

_SLOW = Shape(picture_s=1.6)
_ROUNDS = 3
_OUTAGE_S = 8.0
_CUT_S = 20.0


def _kill_gpu(trial: Trial) -> None:
    for _ in range(_ROUNDS):
        trial.strike_and_measure(trial.rng.choice(trial.stack.workers("gpu")), signal.SIGKILL)


def _kill_gpu_once(trial: Trial) -> None:
    trial.strike_and_measure(trial.stack.part("gpu-0"), signal.SIGKILL)


def _kill_cpu(trial: Trial) -> None:
    for _ in range(_ROUNDS):
        trial.strike_and_measure(trial.rng.choice(trial.stack.workers("cpu")), signal.SIGKILL)


def _kill_fetch(trial: Trial) -> None:
    for _ in range(_ROUNDS):
        trial.strike_and_measure(trial.stack.part("fetch-0"), signal.SIGKILL)


def _kill_finish(trial: Trial) -> None:
    for _ in range(_ROUNDS):
        trial.strike_and_measure(trial.stack.part("finish-0"), signal.SIGKILL)


def _kill_api(trial: Trial) -> None:
    for _ in range(_ROUNDS):
        trial.wait(0.5, 2.0)
        trial.stack.part("api").signal(signal.SIGKILL)
        trial.measure(trial.standing_requests(), time.monotonic())


def _kill_redis(trial: Trial) -> None:
    for _ in range(_ROUNDS):
        trial.wait(1.0, 3.0)
        standing = trial.standing_requests()
        trial.stack.part("redis").signal(signal.SIGKILL)
        trial.measure(standing, time.monotonic())


def _stall_gpu(trial: Trial) -> None:
    part = trial.stack.part("gpu-0")
    request_ids = trial.strike(part, signal.SIGSTOP)
    trial.measure(request_ids, time.monotonic())
    trial.wait(LEASE_S, LEASE_S + 3)
    part.signal(signal.SIGCONT)


def _stall_then_kill_successor(trial: Trial) -> None:
    """The resumed worker must not end the job that its successor holds."""
    first, second = trial.stack.part("gpu-0"), trial.stack.part("gpu-1")
    request_ids = trial.strike(first, signal.SIGSTOP)
    trial.measure(request_ids, time.monotonic())
    first.signal(signal.SIGCONT)
    trial.wait(0.8, 1.2)
    second.signal(signal.SIGKILL)


def _stop_under_load(trial: Trial) -> None:
    for kind in ("gpu", "cpu", "finish", "fetch"):
        for part in trial.stack.workers(kind):
            trial.wait(0.5, 1.5)
            part.signal(signal.SIGTERM)
    trial.wait(0.5, 1.5)
    trial.stack.part("api").signal(signal.SIGTERM)


def _stop_during_a_job(trial: Trial) -> None:
    """One signal: the worker finishes its job. Two signals: it re-queues the job at once."""
    first = trial.stack.part("gpu-0")
    stopped_pid = first.pid
    trial.strike(first, signal.SIGTERM)
    while first.pid == stopped_pid or not until_in_flight(trial.redis, first.pid):
        time.sleep(0.1)
    part = trial.stack.part("gpu-1")
    before = request_ids = in_flight(trial.redis, part.pid)
    while request_ids <= before:  # at the start of a job, so that it does not end first
        request_ids = in_flight(trial.redis, part.pid)
    part.signal(signal.SIGTERM)
    time.sleep(1.1)  # RQ ignores a second signal within a second
    part.signal(signal.SIGTERM)
    trial.measure(request_ids, time.monotonic())


def _redis_full(trial: Trial) -> None:
    trial.wait(1.0, 2.0)
    with Redis.from_url(trial.stack.redis_url) as admin:
        used = int(admin.info("memory")["used_memory"])
        admin.config_set("maxmemory", used)
        time.sleep(_OUTAGE_S)
        standing, since = trial.standing_requests(), time.monotonic()
        admin.config_set("maxmemory", 0)
    trial.measure(standing, since)


def _redis_paused(trial: Trial) -> None:
    trial.wait(1.0, 2.0)
    redis = trial.stack.part("redis")
    standing, since = trial.standing_requests(), time.monotonic()
    redis.signal(signal.SIGSTOP)
    time.sleep(_OUTAGE_S)
    redis.signal(signal.SIGCONT)
    trial.measure(standing, since)


def _disk_full(trial: Trial) -> None:
    """Limit the file size of Redis, which has the effect of a full disk."""
    trial.wait(1.0, 2.0)
    pid, size = trial.stack.part("redis").pid, trial.stack.append_only_size()
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 4096, unlimited))
    time.sleep(_OUTAGE_S)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    since = time.monotonic()
    _until_redis_answers(trial)  # until a write succeeds it refuses reads too
    trial.measure(trial.standing_requests(), since)


def _until_redis_answers(trial: Trial) -> None:
    while True:
        try:
            trial.redis.ping()
            return
        except RedisError:
            time.sleep(0.05)


def _clock_jumps(trial: Trial) -> None:
    """Ahead, the worker treats other workers' leases as expired; behind, its own last too long."""
    part = trial.stack.part("gpu-0")
    for signum in (signal.SIGUSR1, signal.SIGUSR2):
        trial.strike(part, signum)
        trial.wait(4.0, 6.0)


def _everything(trial: Trial) -> None:
    """Kill one process after another, until the clients have submitted their orders."""
    while not trial.clients.satisfied:
        trial.wait(2.0, 6.0)
        kind = trial.rng.choice(["gpu", "cpu", "fetch", "finish", "api", "redis"])
        part = trial.rng.choice(trial.stack.workers(kind))
        standing, since = trial.standing_requests(), time.monotonic()
        part.signal(signal.SIGKILL)
        trial.measure(standing, since)


def _cut_host(trial: Trial) -> None:
    """Cut a host off until others have taken its jobs over; its later writes must be refused."""
    request_ids = trial.until_in_flight(trial.stack.part("gpu-0"))
    trial.stack.network.cut(0)
    trial.measure(request_ids, time.monotonic())
    trial.wait(_CUT_S - LEASE_S, _CUT_S - LEASE_S + 2)
    trial.stack.network.mend(0)


def _rolling_restart(trial: Trial) -> None:
    """Restart each process gracefully, one after another."""
    for kind in ("gpu", "cpu", "fetch", "finish", "api", "redis"):
        for part in trial.stack.workers(kind):
            stopped_pid = part.pid
            part.signal(signal.SIGTERM)
            while part.pid == stopped_pid or not trial.stack.whole():
                time.sleep(0.1)


def _nothing(_trial: Trial) -> None:
    """No fault: the scenario is in the requests or in the shape."""


SCENARIOS = {
    "kill-gpu": Scenario("kill -9 of one of two gpu workers, three times", _kill_gpu),
    "kill-only-gpu": Scenario(
        "kill -9 of the only gpu worker", _kill_gpu_once, Shape(gpu_workers=1)
    ),
    "kill-cpu": Scenario("kill -9 of one of two cpu workers, three times", _kill_cpu),
    "kill-fetch": Scenario("kill -9 of the fetch worker, three times", _kill_fetch),
    "kill-finish": Scenario("kill -9 of the finish worker, three times", _kill_finish),
    "kill-api": Scenario("kill -9 of the api, three times", _kill_api),
    "kill-redis": Scenario("kill -9 of Redis, three times", _kill_redis),
    "stall-gpu": Scenario("a gpu worker stopped for longer than its lease", _stall_gpu, _SLOW),
    "stall-kill": Scenario("the same, and its successor killed", _stall_then_kill_successor, _SLOW),
    "term-load": Scenario("SIGTERM to each process under load", _stop_under_load),
    "term-job": Scenario("SIGTERM, and SIGTERM twice, during a job", _stop_during_a_job, _SLOW),
    "redis-full": Scenario("Redis without memory for 8 s", _redis_full),
    "redis-paused": Scenario("Redis stopped for 8 s", _redis_paused),
    "disk-full": Scenario("no room for Redis' file for 8 s", _disk_full),
    "slow-host": Scenario(
        "a picture host that trickles",
        _nothing,
        Shape(settings={"FETCH_TIMEOUT_S": "4"}),
        may_fail=r"^image: the URL did not deliver within 4 s$",
        hostile_path=TRICKLE,
    ),
    "beside-slow-host": Scenario(
        "another key's v1 requests beside six pictures on a host that never answers",
        beside_slow_host,
        Shape(settings={"FETCH_TIMEOUT_S": "10"}),
        may_fail=r"^image: the URL did not deliver within 10 s$",
        clients=0,
    ),
    "beside-bombs": Scenario(
        "another key's v1 requests beside four decode bombs and four pictures of 64 megapixels",
        beside_bombs,
        may_fail=r"^image: decoding it takes longer than it may$",
        clients=0,
    ),
    "clock": Scenario(
        "the clock of a gpu worker jumps 20 s ahead during a job, and back during another",
        _clock_jumps,
        Shape(picture_s=1.0),
    ),
    "cut-host": Scenario(
        "one of two worker hosts cut off for 20 s during its job",
        _cut_host,
        Shape(hosts=2, picture_s=1.0, fetch_workers=2, finish_workers=2),
    ),
    "rolling": Scenario(
        "SIGTERM to each of nine processes (two apis behind a balancer), one after another",
        _rolling_restart,
        Shape(apis=2, settings={"DRAIN_S": "2"}),
        may_refuse=False,
    ),
    "everything": Scenario(
        "kill -9 of any of the eight processes every few seconds", _everything, least=300
    ),
}
