"""Checks once, at the start of a process, that Redis accepts its password: a wrong one ends the
start with one line instead of endless retries. A Redis that does not answer is no error: it may
come back.
"""

from __future__ import annotations

import logging

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from app.core.redis.connection import connect
from app.core.system.exit import refuse

log = logging.getLogger(__name__)

_TIMEOUT_S = 5


def client_without_retries(url: str) -> Redis:
    """For commands that must not wait: an answer or a RedisError within seconds."""
    return connect(url, retries=0, timeout_s=_TIMEOUT_S)


def connected_client(url: str) -> Redis:
    """A client without retries whose first ping was answered. Exits with one line when Redis
    refuses the password, or requires one. Raises RedisError when Redis does not answer.
    """
    client = client_without_retries(url)
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
    """Exit with one line when Redis refuses the password, or requires one."""
    try:
        connected_client(url).close()
    except RedisError as error:
        log.debug("Redis does not answer yet: %s", error)
