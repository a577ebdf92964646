"""`python -m app.cli health`: is the process that this host (a container) exists for well?

For the health checks of containers, so it is cheap, brief, loads no torch and changes nothing. It
says what is wrong in one line, which is what `docker inspect` shows. Whether the whole server is
ready is another question (/health/ready).
"""

from __future__ import annotations

import http.client

from redis.exceptions import RedisError

from app.core.queueing.jobs import QUEUES
from app.core.queueing.workers import is_here, live_workers
from app.core.redis.startup_check import client_without_retries

_TIMEOUT_S = 5


def api_illness(port: int) -> str | None:
    """What is wrong with the api on this port of the host; None when it answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"the api does not answer on port {port}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"the api answers {status}"


def worker_illness(redis_url: str) -> str | None:
    """What is wrong with this host's worker; None when Redis has heard of it just now.

    A gpu worker is heard of once its checkpoint is loaded and warm.
    """
    client = client_without_retries(redis_url)
    try:
        workers = [w for queue in QUEUES for w in live_workers(client, queue)]
    except RedisError as error:
        return f"Redis cannot be asked: {error}"
    finally:
        client.close()
    if any(is_here(worker.name) for worker in workers):
        return None
    return "no worker of this host is registered: it is loading, or it is silent"
