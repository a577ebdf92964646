"""The history in a database: its table, its expiry, and an unavailable database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import URL

from app.core.errors import HistoryUnavailable
from app.core.history import sql as module
from app.core.history.base import Query
from app.core.history.sql import SqlHistory
from tests.support.history_rows import NOW, a_row

DAYS = 30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def history(file: Path) -> Iterator[SqlHistory]:
    with closing(SqlHistory(f"sqlite:///{file}", DAYS)) as opened:
        yield opened


def stored(file: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


def everything(owner: str = "x") -> Query:
    return Query(owner, since=0, until=2**33)


def test_the_table_is_made_at_the_first_call_and_only_then(file: Path, history: SqlHistory) -> None:
    assert not file.exists()
    assert history.page(everything()).total == 0
    made = stored(file, "select type, name, sql from sqlite_master where name like 'history%'")
    assert {(kind, name) for kind, name, _ in made} == {
        ("table", "history"),
        ("index", "history_of_owner"),
        ("index", "history_by_age"),
    }
    on = {name: sql.partition("(")[2] for kind, name, sql in made if kind == "index"}
    assert on == {"history_of_owner": "owner, created_at)", "history_by_age": "created_at)"}
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("drop table history")
    with pytest.raises(HistoryUnavailable):
        history.page(everything())


def test_the_fields_of_queries_are_columns_beside_the_row(file: Path, history: SqlHistory) -> None:
    row = a_row("x", 1)
    history.write([row])
    query = "select request_id, output, owner, model, status, created_at, cost, row from history"
    assert stored(file, query) == [
        (row.request_id, 0, "x", row.model, "COMPLETED", row.created_at, 0.5, row.to_json())
    ]


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
def test_a_file_that_others_may_read_is_closed_to_them(file: Path, suffix: str) -> None:
    left = file.with_name(file.name + suffix)
    left.touch(mode=0o644)
    SqlHistory(f"sqlite:///{file}", DAYS).close()
    assert left.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("older_s", "seen"), [(0.0, 1), (0.5, 0)])
def test_a_row_is_seen_for_thirty_days_and_then_pruned(
    file: Path,
    history: SqlHistory,
    monkeypatch: pytest.MonkeyPatch,
    older_s: float,
    seen: int,
) -> None:
    row = a_row("x", 1)
    history.write([row])
    moment = row.created_at + 30 * 86_400 + older_s
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: moment))
    assert history.page(everything()).total == seen
    assert len(history.of_request("x", row.request_id)) == seen
    assert stored(file, "select count(*) from history") == [(1,)]
    history.prune()
    assert stored(file, "select count(*) from history") == [(seen,)]


@pytest.mark.parametrize("descending", [True, False])
def test_equal_rows_have_one_order_on_every_page(history: SqlHistory, descending: bool) -> None:
    rows = [a_row("x", number, created_at=NOW) for number in (3, 1, 0, 2)]
    history.write(rows)
    pages = [
        history.page(replace(everything(), offset=number, limit=1, descending=descending)).rows
        for number in range(4)
    ]
    shown = [row.request_id for page in pages for row in page]
    assert shown == sorted(row.request_id for row in rows)


def test_postgresql_is_spoken_to_by_psycopg_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[tuple[URL, dict[str, Any]]] = []
    monkeypatch.setattr(module, "create_engine", lambda url, **more: given.append((url, more)))
    SqlHistory("postgresql://u:p@h/n", DAYS)
    [(url, more)] = given
    assert (url.drivername, url.username, url.password, url.host) == (
        "postgresql+psycopg",
        "u",
        "p",
        "h",
    )
    assert more["pool_pre_ping"] is True
    assert more["connect_args"]["connect_timeout"] == 5


def test_a_database_that_is_away_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    history = SqlHistory(f"sqlite:///{folder}/history.db", DAYS)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(HistoryUnavailable):
        history.write([a_row("x", 1)])
    (tmp_path / "elsewhere").rename(folder)
    history.write([a_row("x", 1)])
    assert history.page(everything()).total == 1
    history.close()
