"""An api and one worker of each kind in this process, on a real Redis: whole requests without
ports, child processes and a model.

The api is the ASGI application itself, called in a thread of its own. The workers are the classes
that run jobs in their own process. Only the model is replaced, by a module that does with Redis
what worker/generate.py does.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import httpx
import pytest
from redis import Redis
from rq.serializers import JSONSerializer

from app.api import maintenance
from app.api.deps import Services
from app.core.accounts.api_keys import Terms
from app.core.queueing.jobs import CPU, FETCH, FINISH, GPU, WEBHOOKS
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.stage_results import StageResult
from app.core.requests.types import SavedWork
from app.core.settings import Settings
from app.main import create_app
from models.geometry import generated_size
from tests.support.records import generated
from worker.fair_queue import FairQueue
from worker.fetch_worker import FetchWorker
from worker.gpu_worker import GpuWorker
from worker.in_process_worker import InProcessWorker
from worker.main import MAINTENANCE_INTERVAL_S, WORKER_TTL_S
from worker.runtime import Runtime, runtime
from worker.stage import DeferredWork, LostClaim, run_split_stage

During = Callable[[], object]


class CpuWorker(InProcessWorker):
    """The cpu worker without its fork."""

    queue_class = FairQueue


WORKERS: Mapping[str, type[InProcessWorker]] = {
    FETCH: FetchWorker,
    CPU: CpuWorker,
    GPU: GpuWorker,
    FINISH: InProcessWorker,
    WEBHOOKS: InProcessWorker,
}


@dataclass(frozen=True)
class Caller:
    """A key of an installation."""

    id: str
    owner: str
    secret: str


class Installation:
    def __init__(self, services: Services, api: httpx.AsyncClient) -> None:
        self.services = services
        self.redis: Redis = services.redis
        self.context: Runtime = runtime()
        self.during: dict[str, During] = {}
        """What happens in the middle of the generation of a request, by its id."""
        self._blobs = self.context.blobs
        names = [cast(bytes, name).decode() for name in self.redis.keys("secret:*")]
        self._secrets = {name: cast(bytes, self.redis.get(name)) for name in names}
        self._api = api
        self._loop = asyncio.Runner()
        self._thread = ThreadPoolExecutor(1, "api")

    def restart(self) -> None:
        """On a Redis that has lost all but the secrets, which processes read when they start."""
        self.redis.mset(self._secrets)
        self.context.blobs = self._blobs
        self.during.clear()

    def caller(self, owner: str, **terms: Any) -> Caller:
        """A new key."""
        secret, key = self.services.keys.create(owner, Terms(**terms))
        return Caller(key.id, owner, secret)

    def begin(self, caller: Caller, method: str, path: str, **more: Any) -> Future[httpx.Response]:
        """One call of the api, which may wait for the workers."""
        headers = {"x-api-key": caller.secret, **more.pop("headers", {})}
        calling = self._api.request(method, path, headers=headers, **more)
        return self._thread.submit(self._loop.run, calling)

    def call(self, caller: Caller, method: str, path: str, **more: Any) -> httpx.Response:
        """One call of the api."""
        return self.begin(caller, method, path, **more).result(60)

    def submit(self, caller: Caller, body: Mapping[str, Any], **headers: str) -> str:
        """The id of an accepted request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.call(caller, "POST", "/v2/flux-controlnet", json=dict(body), headers=named)
        assert response.status_code == 200, response.text
        return str(response.json()["request_id"])

    def record(self, request_id: str) -> RequestRecord:
        found = self.services.requests.get(request_id)
        assert found is not None
        return found

    @contextmanager
    def worker(self, queue: str) -> Iterator[InProcessWorker]:
        """A worker of this queue as it is between two jobs."""
        made = WORKERS[queue](
            [queue],
            connection=self.redis,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            maintenance_interval=MAINTENANCE_INTERVAL_S,
        )
        made.register_birth()  # type: ignore[no-untyped-call]  # rq leaves it untyped
        try:
            yield made
        finally:
            made.teardown()  # type: ignore[no-untyped-call]  # as above

    def work(self, *queues: str) -> None:
        """Let the workers of these queues, of all by default, do all that waits there."""
        for queue in queues or WORKERS:
            with self.worker(queue) as worker:
                worker.run_maintenance_tasks()  # type: ignore[no-untyped-call]  # as above
                while (found := worker.dequeue_job_and_maintain_ttl(None)) is not None:
                    worker.execute_job(*found)
                    self.context.background_thread.flush()

    def run_maintenance(self) -> None:
        """The duties of one period."""
        self.redis.delete("housekeeping")
        assert maintenance.run_tasks(self.services)

    def close(self) -> None:
        async def disconnect() -> None:
            await self._api.aclose()
            await self.services.feed.aclose()
            await self.services.async_redis.aclose()

        self.context.background_thread.flush()
        self._thread.submit(self._loop.run, disconnect()).result(60)
        self._thread.submit(self._loop.close).result(60)
        self._thread.shutdown()
        self.context.redis.close()
        self.redis.close()


@contextmanager
def installation(redis_url: str, **settings: str) -> Iterator[Installation]:
    """settings: as environment variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"REDIS_URL": redis_url, **settings}.items():
            patch.setenv(name, value)
        patch.setattr(resource, "setrlimit", lambda *_: None)  # this process is the tests'
        patch.setattr(maintenance, "_RECHECK_S", 0)
        runtime.cache_clear()
        app = create_app(Settings())
        api = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost:8000"
        )
        running = Installation(app.state.services, api)
        patch.setitem(sys.modules, "worker.generate", _stub(running))
        try:
            yield running
        finally:
            running.close()
            runtime.cache_clear()


def _stub(running: Installation) -> ModuleType:
    """A stub of the module worker.generate, which needs torch."""

    def work(context: Runtime, record: RequestRecord, execution: str) -> Callable[[], StageResult]:
        expires_at = record.expires_at
        assert context.prefetch.control_pictures(record.id, 1) is not None
        answers = f"{record.id}:answers:{execution}:0"
        context.blobs.put(answers, b"answers", expires_at)
        saved_work = SavedWork("stub", chunks=((answers, 1),))
        if not context.requests.keep(record.id, execution, saved_work):
            raise LostClaim
        running.during.get(record.id, lambda: None)()
        for step in (1, 2):
            if not context.requests.progress(record.id, execution, step, 2, "data:,"):
                raise LostClaim

        def store() -> StageResult:
            assert record.width is not None
            assert record.height is not None
            width, height = generated_size((record.width, record.height))
            for name in ("map", *(f"pixels:{n}" for n in range(record.params.samples))):
                context.blobs.put(f"{record.id}:{name}", bytes(width * height * 3), expires_at)
            return generated(inference_s=1.0, evaluations=2, profile="exact")

        return store

    def generate(request_id: str) -> DeferredWork | None:
        return run_split_stage(request_id, Stage.GENERATE, work)

    module = ModuleType("worker.generate")
    vars(module)["generate"] = generate
    return module
