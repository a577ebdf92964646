"""The history in a database: SQLite for one machine, PostgreSQL for several. Creates its one table
when that is missing.

A row is stored as JSON, beside the columns that queries filter or sort by.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from app.core.errors import HistoryUnavailable
from app.core.history.base import DAY_S, HistoryRow, Page, Query
from app.core.system.private_files import close_to_others

_METADATA = MetaData()
_ROWS = Table(
    "history",
    _METADATA,
    Column("request_id", String(64), primary_key=True),
    Column("output", Integer, primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("cost", Double, nullable=False),
    Column("row", Text, nullable=False),
    Index("history_of_owner", "owner", "created_at"),
    Index("history_by_age", "created_at"),
)
_ORDER = {
    "model_created": _ROWS.c.created_at,
    "model_name": _ROWS.c.model,
    "credits_deduction": _ROWS.c.cost,
}
_CONNECT_S = 5


class SqlHistory:
    """Connects at the first call, so an object made before a fork can be used in the child."""

    def __init__(self, url: str, days: int) -> None:
        parts = make_url(url)
        self._retention_s = days * DAY_S
        self._insert: sqlite.Insert | postgresql.Insert
        if parts.get_backend_name() == "sqlite":
            self._insert = sqlite.insert(_ROWS)
            self._engine = create_engine(parts)
            if parts.database:
                for suffix in ("", "-journal", "-wal", "-shm"):
                    close_to_others(Path(parts.database + suffix).resolve())
        else:
            self._insert = postgresql.insert(_ROWS)
            parts = parts.set(drivername="postgresql+psycopg")
            # A database in the C locale declares no encoding; texts would be read as bytes.
            options = {"connect_timeout": _CONNECT_S, "client_encoding": "utf8"}
            self._engine = create_engine(parts, pool_pre_ping=True, connect_args=options)
        self._table_exists = False

    def write(self, rows: Sequence[HistoryRow]) -> None:
        values = [
            {
                "request_id": row.request_id,
                "output": row.output,
                "owner": row.owner,
                "model": row.model,
                "status": row.status,
                "created_at": row.created_at,
                "cost": row.cost,
                "row": row.to_json(),
            }
            for row in rows
        ]
        with self._transaction() as connection:
            connection.execute(self._insert.on_conflict_do_nothing(), values)

    def of_request(self, owner: str | None, request_id: str) -> list[HistoryRow]:
        own = _ROWS.c.request_id == request_id
        if owner is not None:
            own &= _ROWS.c.owner == owner
        recent = _ROWS.c.created_at >= self._oldest()
        with self._transaction() as connection:
            texts = connection.scalars(
                select(_ROWS.c.row).where(own & recent).order_by(_ROWS.c.output)
            )
            return [HistoryRow.from_json(text) for text in texts]

    def page(self, query: Query) -> Page:
        selected = (_ROWS.c.created_at >= max(query.since, self._oldest())) & (
            _ROWS.c.created_at < query.until
        )
        if query.owner is not None:
            selected &= _ROWS.c.owner == query.owner
        if query.model:
            # LIKE is case-sensitive in one database and not in the other.
            selected &= func.replace(_ROWS.c.model, query.model, "") != _ROWS.c.model
        if query.status:
            selected &= _ROWS.c.status == query.status
        order = (_ORDER[query.sort_by], _ROWS.c.created_at)
        page = (
            select(_ROWS.c.row)
            .where(selected)
            .order_by(
                *(column.desc() if query.descending else column for column in order),
                *(_ROWS.c.request_id, _ROWS.c.output),
            )
            .offset(query.offset)
            .limit(query.limit)
        )
        with self._transaction() as connection:
            total = connection.scalar(select(func.count()).where(selected)) or 0
            return Page([HistoryRow.from_json(text) for text in connection.scalars(page)], total)

    def prune(self) -> None:
        with self._transaction() as connection:
            connection.execute(delete(_ROWS).where(_ROWS.c.created_at < self._oldest()))

    def close(self) -> None:
        self._engine.dispose()

    def _oldest(self) -> float:
        return time.time() - self._retention_s

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                if not self._table_exists:
                    _create_table(connection)
                yield connection
            self._table_exists = True
        except SQLAlchemyError as error:
            raise HistoryUnavailable from error


def _create_table(connection: Connection) -> None:
    connection.execute(CreateTable(_ROWS, if_not_exists=True))
    for index in _ROWS.indexes:
        connection.execute(CreateIndex(index, if_not_exists=True))
