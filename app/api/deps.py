"""The services that endpoints use: created once by create_app, injected by FastAPI.

An endpoint declares the services that it needs by the aliases below. Services hold no state of a
request, so the API can be replicated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from app.api.http.drain import Drain
from app.api.rate_limit import RateLimiter
from app.core.accounts.api_keys import KeyStore
from app.core.accounts.credits import Ledger
from app.core.accounts.usage import Usage
from app.core.history.base import History
from app.core.history.factory import open_history
from app.core.lifecycle.background_jobs import BackgroundJobs
from app.core.lifecycle.outbox import Outbox
from app.core.queueing.admission import Admission
from app.core.queueing.forecast import Forecaster
from app.core.queueing.generation_time import GenerationTimes
from app.core.queueing.jobs import Jobs
from app.core.receipts import ReceiptSigner
from app.core.redis.connection import connect, connect_async
from app.core.requests.events import EventFeed
from app.core.requests.idempotency import IdempotencyKeys
from app.core.requests.reader import Reader
from app.core.requests.sources import Sources
from app.core.requests.store import RequestStore
from app.core.settings import Settings
from app.core.storage.base import Blobs
from app.core.storage.factory import open_blobs
from app.core.storage.links import LinkSigner
from app.core.storage.stored_outputs import StoredOutputs
from app.core.storage.uploads import Uploads
from app.core.telemetry.counters import Tally
from app.core.webhooks.deliveries import Deliveries
from app.core.webhooks.message import WebhookSecrets
from models.loras.lora_folder import LoraFolder


@dataclass(frozen=True, slots=True)
class Services:
    """loras: None if the server has none."""

    settings: Settings
    redis: Redis
    async_redis: AsyncRedis
    reader: Reader
    feed: EventFeed
    forecaster: Forecaster
    requests: RequestStore
    blobs: Blobs
    stored_outputs: StoredOutputs
    jobs: Jobs
    generation_times: GenerationTimes
    links: LinkSigner
    admission: Admission
    rate_limiter: RateLimiter
    keys: KeyStore
    ledger: Ledger
    usage: Usage
    uploads: Uploads
    sources: Sources
    outbox: Outbox
    background_jobs: BackgroundJobs
    history: History
    deliveries: Deliveries
    secrets: WebhookSecrets
    receipts: ReceiptSigner
    idempotency: IdempotencyKeys
    loras: LoraFolder | None
    tally: Tally
    drain: Drain


def make_services(settings: Settings) -> Services:
    redis = connect(settings.redis_url)
    async_redis = connect_async(settings.redis_url)
    blobs = open_blobs(settings.blob_url, redis)
    jobs = Jobs(redis, settings.request_ttl_s, settings.generate_timeout_s)
    return Services(
        settings=settings,
        redis=redis,
        async_redis=async_redis,
        reader=Reader(async_redis),
        feed=EventFeed(async_redis),
        forecaster=Forecaster(redis, jobs),
        requests=RequestStore(redis, settings.request_ttl_s),
        blobs=blobs,
        stored_outputs=StoredOutputs(redis, blobs, settings.output_quota_bytes),
        jobs=jobs,
        generation_times=GenerationTimes(redis, settings),
        links=LinkSigner(redis),
        admission=Admission(async_redis, settings),
        rate_limiter=RateLimiter(async_redis),
        keys=KeyStore(redis),
        ledger=Ledger(redis),
        usage=Usage(redis),
        uploads=Uploads(redis, blobs, settings.upload_ttl_s, settings.upload_quota_bytes),
        sources=Sources(redis, settings.source_quota_bytes),
        outbox=Outbox(redis),
        background_jobs=BackgroundJobs(redis, jobs),
        history=open_history(settings.database_url, redis, settings.history_days),
        deliveries=Deliveries(redis, settings.webhook_retries_s, settings.webhook_timeout_s),
        secrets=WebhookSecrets(redis),
        receipts=ReceiptSigner(redis),
        idempotency=IdempotencyKeys(redis),
        loras=None if settings.loras_folder is None else LoraFolder(settings.loras_folder),
        tally=Tally(),
        drain=Drain(),
    )


async def get_services(request: Request) -> Services:
    """Asynchronous, like all dependencies here: FastAPI runs others in a thread."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def _service(select: Callable[[Services], object]) -> Any:
    """The dependency on one service."""

    async def selected(services: ServicesDep) -> object:
        return select(services)

    return Depends(selected)


SettingsDep = Annotated[Settings, _service(lambda services: services.settings)]
AsyncRedisDep = Annotated[AsyncRedis, _service(lambda services: services.async_redis)]
RequestsDep = Annotated[RequestStore, _service(lambda services: services.requests)]
BlobsDep = Annotated[Blobs, _service(lambda services: services.blobs)]
StoredOutputsDep = Annotated[StoredOutputs, _service(lambda services: services.stored_outputs)]
LinksDep = Annotated[LinkSigner, _service(lambda services: services.links)]
AdmissionDep = Annotated[Admission, _service(lambda services: services.admission)]
KeysDep = Annotated[KeyStore, _service(lambda services: services.keys)]
UsageDep = Annotated[Usage, _service(lambda services: services.usage)]
UploadsDep = Annotated[Uploads, _service(lambda services: services.uploads)]
HistoryDep = Annotated[History, _service(lambda services: services.history)]
DeliveriesDep = Annotated[Deliveries, _service(lambda services: services.deliveries)]
SecretsDep = Annotated[WebhookSecrets, _service(lambda services: services.secrets)]
ReceiptsDep = Annotated[ReceiptSigner, _service(lambda services: services.receipts)]
TallyDep = Annotated[Tally, _service(lambda services: services.tally)]
