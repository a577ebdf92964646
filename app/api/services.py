"""What the endpoints share: made once by create_app, read through a dependency. Holds no state of
any request, so the API can be replicated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import redis.asyncio as async_redis
from fastapi import Depends, Request
from redis import Redis

from app.api.drain import Drain
from app.core.blobs import Blobs, RedisBlobs
from app.core.connection import connect, connect_async
from app.core.feed import EventFeed
from app.core.forecast import Forecasts
from app.core.idempotency import IdempotencyKeys
from app.core.links import LinkSigner
from app.core.queue import Jobs
from app.core.reading import Reader
from app.core.receipts import ReceiptSigner
from app.core.requests import RequestStore
from app.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    redis: Redis
    events: async_redis.Redis
    reads: Reader
    feed: EventFeed
    forecasts: Forecasts
    requests: RequestStore
    blobs: Blobs
    jobs: Jobs
    links: LinkSigner
    receipts: ReceiptSigner
    idempotency: IdempotencyKeys
    drain: Drain


def make_services(settings: Settings) -> Services:
    redis = connect(settings.redis_url)
    events = connect_async(settings.redis_url)
    jobs = Jobs(redis, settings.request_ttl_s)
    return Services(
        settings=settings,
        redis=redis,
        events=events,
        reads=Reader(events),
        feed=EventFeed(events),
        forecasts=Forecasts(redis, jobs),
        requests=RequestStore(redis, settings.request_ttl_s),
        blobs=RedisBlobs(redis),
        jobs=jobs,
        links=LinkSigner(redis),
        receipts=ReceiptSigner(redis),
        idempotency=IdempotencyKeys(redis),
        drain=Drain(),
    )


async def get_services(request: Request) -> Services:
    """Asynchronous, as all dependencies here are: FastAPI runs the others in a thread each."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


ServicesDep = Annotated[Services, Depends(get_services)]
