"""What the jobs of one worker process share: settings, Redis, the stores, and (in the gpu worker)
the loaded checkpoint and what is done beside the device. Made once a process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from redis import Redis

from app.core.blobs import Blobs, RedisBlobs
from app.core.connection import connect
from app.core.links import LinkSigner
from app.core.pace import Measurements
from app.core.queue import Jobs
from app.core.receipts import ReceiptSigner
from app.core.requests import RequestStore
from app.core.settings import Settings, load_settings
from worker.aside import Aside
from worker.read_ahead import ReadAhead

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
    measurements: Measurements
    ahead: ReadAhead
    aside: Aside
    checkpoint: LoadedCheckpoint | None = None
    content_filter: Classifier | None = None


@cache
def runtime() -> Runtime:
    """This process's runtime; the first call connects."""
    settings = load_settings()
    redis = connect(settings.redis_url)
    blobs, jobs = RedisBlobs(redis), Jobs(redis, settings.request_ttl_s)
    return Runtime(
        settings=settings,
        redis=redis,
        requests=RequestStore(redis, settings.request_ttl_s),
        blobs=blobs,
        jobs=jobs,
        links=LinkSigner(redis),
        receipts=ReceiptSigner(redis),
        measurements=Measurements(redis),
        ahead=ReadAhead(blobs, jobs),
        aside=Aside(),
    )
