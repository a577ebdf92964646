"""Opens the history that DATABASE_URL names: in Redis, SQLite or PostgreSQL."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from redis import Redis

from app.core.history.base import History
from app.core.history.redis import RedisHistory


def open_history(database_url: str, redis: Redis, days: int) -> History:
    """The store that DATABASE_URL selects. Does not connect yet."""
    if database_url:
        from app.core.history.sql import SqlHistory

        return SqlHistory(database_url, days)
    return RedisHistory(redis, days)


def check_database_url(url: str) -> str:
    """`url`, if it is empty or has one of the two forms. Raises ValueError with the reason."""
    if not url:
        return url
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parts = make_url(url)
    except ArgumentError:
        raise ValueError("is not a database URL") from None
    if parts.drivername == "sqlite":
        if not parts.database or not Path(parts.database).absolute().parent.is_dir():
            raise ValueError("sqlite needs a file in a folder that exists: sqlite:////FOLDER/FILE")
    elif parts.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ValueError("must be sqlite:////FOLDER/FILE or postgresql://USER:PASSWORD@HOST/NAME")
    elif importlib.util.find_spec("psycopg") is None:
        raise ValueError("names PostgreSQL, which needs psycopg; install the extra postgres")
    return url
