"""May this process use its Redis? Asked once, at the start, so that a missing or wrong password is
one line and no endless waiting. A process that serves does not ask whether Redis is there at all:
that may change.
"""

from __future__ import annotations

import logging

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from app.core.redis.connection import connect
from app.core.system.exit import refuse

log = logging.getLogger(__name__)

_TIMEOUT_S = 5


def impatient(url: str) -> Redis:
    """A client for one question: no retries, and an answer or an error within seconds."""
    return connect(url, retries=0, timeout_s=_TIMEOUT_S)


def answering(url: str) -> Redis:
    """An impatient client, for a command that is not there to wait: Redis has answered it. Leaves
    with one line when it refuses this password, or wants one; RedisError when it does not answer.
    """
    client = impatient(url)
    try:
        client.ping()
    except AuthenticationError:
        given = client.get_connection_kwargs().get("password")
        what = "refuses the password" if given else "wants a password"
        refuse(
            f"Redis {what}: it belongs into the secret file /run/secrets/redis_password, into "
            "REDIS_PASSWORD or into REDIS_URL"
        )
    return client


def require_access(url: str) -> None:
    """Leaves with one line when Redis answers and refuses this password, or wants one."""
    try:
        answering(url).close()
    except RedisError as error:
        log.debug("Redis does not answer yet: %s", error)
