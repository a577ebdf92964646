"""Checks at the start of a process that Redis accepts the password.

A wrong password stops the start with one line, instead of endless retries. An unreachable Redis is
no error, because it may recover.
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
    """For commands that must not wait: a reply or a RedisError within seconds."""
    return connect(url, retries=0, timeout_s=_TIMEOUT_S)


def connected_client(url: str) -> Redis:
    """A client without retries, after a successful ping. Exits with one line if Redis refuses the
    password or requires one. Raises RedisError if Redis does not respond.
    """
    client = client_without_retries(url)
    try:
        client.ping()
    except AuthenticationError:
        password = client.get_connection_kwargs().get("password")
        problem = "refuses the password" if password else "wants a password"
        refuse(
            f"Redis {problem}: set it in the secret file /run/secrets/redis_password, in "
            "REDIS_PASSWORD or in REDIS_URL"
        )
    return client


def require_access(url: str) -> None:
    """Exit with one line if Redis refuses the password or requires one."""
    try:
        connected_client(url).close()
    except RedisError as error:
        log.debug("Redis does not respond yet: %s", error)
