"""The objects that all jobs of one worker process share, built once per process.

These are the settings, Redis, the stores and, in a gpu worker, the loaded checkpoint and the
background thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from redis import Redis

from app.core.history.base import History
from app.core.history.factory import open_history
from app.core.lifecycle.background_jobs import BackgroundJobs
from app.core.lifecycle.outbox import Outbox
from app.core.queueing.generation_time import GenerationTimes
from app.core.queueing.jobs import Jobs
from app.core.queueing.throughput import ThroughputMeter
from app.core.receipts import ReceiptSigner
from app.core.redis.connection import connect
from app.core.requests.store import RequestStore
from app.core.settings import Settings, load_settings
from app.core.storage.base import Blobs
from app.core.storage.factory import open_blobs
from app.core.storage.links import LinkSigner
from app.core.webhooks.deliveries import Deliveries
from app.core.webhooks.message import WebhookSecrets
from worker.background_thread import BackgroundThread
from worker.meter import Meter
from worker.prefetch import Prefetch

if TYPE_CHECKING:
    from models.checkpoints import LoadedCheckpoint
    from models.classifier import Classifier


@dataclass(slots=True)
class Runtime:
    settings: Settings
    redis: Redis
    requests: RequestStore
    blobs: Blobs
    jobs: Jobs
    links: LinkSigner
    receipts: ReceiptSigner
    throughput: ThroughputMeter
    generation_times: GenerationTimes
    prefetch: Prefetch
    background_thread: BackgroundThread
    meter: Meter
    outbox: Outbox
    background_jobs: BackgroundJobs
    history: History
    deliveries: Deliveries
    secrets: WebhookSecrets
    checkpoint: LoadedCheckpoint | None = None
    content_filter: Classifier | None = None


@cache
def runtime() -> Runtime:
    """This process's runtime; the first call connects."""
    settings = load_settings()
    redis = connect(settings.redis_url)
    blobs = open_blobs(settings.blob_url, redis)
    jobs = Jobs(redis, settings.request_ttl_s, settings.generate_timeout_s)
    requests = RequestStore(redis, settings.request_ttl_s)
    return Runtime(
        settings=settings,
        redis=redis,
        requests=requests,
        blobs=blobs,
        jobs=jobs,
        links=LinkSigner(redis),
        receipts=ReceiptSigner(redis),
        throughput=ThroughputMeter(redis),
        generation_times=GenerationTimes(redis, settings),
        prefetch=Prefetch(requests, blobs, jobs),
        background_thread=BackgroundThread(),
        meter=Meter(),
        outbox=Outbox(redis),
        background_jobs=BackgroundJobs(redis, jobs),
        history=open_history(settings.database_url, redis, settings.history_days),
        deliveries=Deliveries(redis, settings.webhook_retries_s, settings.webhook_timeout_s),
        secrets=WebhookSecrets(redis),
    )
