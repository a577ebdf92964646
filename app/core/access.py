"""May this process use its Redis? Asked once, at the start, so that a missing or wrong password is
one line and no endless waiting. Whether Redis is there at all is not asked: that may change.
"""

from __future__ import annotations

import logging

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from app.core.connection import connect

log = logging.getLogger(__name__)

_TIMEOUT_S = 5


def impatient(url: str) -> Redis:
    """A client for one question: no retries, and an answer or an error within seconds."""
    return connect(url, retries=0, timeout_s=_TIMEOUT_S)


def require_access(url: str) -> None:
    """SystemExit with one line when Redis answers and refuses this password, or wants one."""
    client = impatient(url)
    try:
        client.ping()
    except AuthenticationError:
        given = client.get_connection_kwargs().get("password")
        what = "refuses the password" if given else "wants a password"
        raise SystemExit(
            f"Redis {what}: it belongs into the secret file /run/secrets/redis_password, into "
            "REDIS_PASSWORD or into REDIS_URL"
        ) from None
    except RedisError as error:
        log.warning("Redis does not answer yet: %s", error)
    finally:
        client.close()
