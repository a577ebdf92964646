"""The history of finished requests: the same results from each store, also after a restart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from redis import Redis
from sqlalchemy import text

from app.core.history.base import History, HistoryRow, Query, rows_of
from app.core.history.factory import open_history
from app.core.history.sql import SqlHistory
from app.core.requests.record import RequestRecord, Status
from app.core.requests.types import GenerationParameters, Output, Source
from tests.support.history_rows import NOW, a_row
from tests.support.postgres import find_postgres, running_postgres
from tests.support.records import PARAMS, SOURCE

DAYS = 30

Open = Callable[[], History]
"""Opens the store again, as a new process does."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(params=["redis", "sqlite", "postgres"])
def reopen(request: pytest.FixtureRequest, redis: Redis, tmp_path: Path) -> Iterator[Open]:
    urls = {"redis": lambda: "", "sqlite": lambda: f"sqlite:///{tmp_path}/history.db"}
    urls["postgres"] = lambda: request.getfixturevalue("postgres")
    url = urls[request.param]()
    opened: list[History] = []

    def make() -> History:
        opened.append(open_history(url, redis, DAYS))
        return opened[-1]

    yield make
    for history in opened:
        if isinstance(history, SqlHistory):
            history.close()


@pytest.fixture
def owner(request: pytest.FixtureRequest) -> str:
    """A name of its own for each test: the database is shared."""
    return str(request.node.name)[:64]


def asked(owner: str, **changes: object) -> Query:
    return replace(Query(owner, since=0, until=NOW + 86_400), **changes)  # type: ignore[arg-type]


def test_a_written_row_survives_a_restart_and_is_stored_once(reopen: Open, owner: str) -> None:
    rows = [a_row(owner, 1), replace(a_row(owner, 1), output=1)]
    reopen().write(rows)
    reopen().write(rows)  # written twice
    history = reopen()
    assert history.of_request(owner, rows[0].request_id) == rows
    page = history.page(asked(owner))
    assert (list(page.rows), page.total) == (rows, 2)


def test_an_owner_sees_only_its_own_history(reopen: Open, owner: str) -> None:
    history, row = reopen(), a_row(owner, 1)
    history.write([row])
    assert history.of_request("another", row.request_id) == []
    assert history.of_request(None, row.request_id) == [row]
    assert history.page(asked("another")).total == 0
    assert history.of_request(owner, "f" * 32) == []


def test_a_query_without_an_owner_is_of_all_owners(reopen: Open, owner: str) -> None:
    history = reopen()
    rows = [a_row(f"{owner[:60]}{number}", number) for number in (1, 2)]
    history.write(rows)
    found = history.page(replace(asked(owner), owner=None, limit=10_000)).rows
    assert [row for row in found if row in rows] == rows[::-1]


def test_pages_filters_and_orders(reopen: Open, owner: str) -> None:
    history = reopen()
    first, second = a_row(owner, 1, cost=3.0), a_row(owner, 2, cost=1.0, model="another-model")
    third = a_row(owner, 3, status="FAILED", error="no", picture=None, cost=0.0)
    history.write([second, third, first])

    def found(**changes: object) -> list[HistoryRow]:
        return list(history.page(asked(owner, **changes)).rows)

    assert found() == [third, second, first]
    assert found(descending=False) == [first, second, third]
    assert found(sort_by="credits_deduction") == [first, second, third]
    assert found(sort_by="model_name") == [third, first, second]
    assert found(status="FAILED") == [third]
    assert found(model="another") == [second]
    assert found(model="%") == []
    assert found(since=second.created_at, until=third.created_at) == [second]
    page = history.page(asked(owner, offset=1, limit=1))
    assert (list(page.rows), page.total) == ([second], 3)
    assert history.page(asked(owner, offset=3)).rows == []


def test_old_rows_are_neither_listed_nor_kept(reopen: Open, owner: str) -> None:
    history = reopen()
    old = a_row(owner, 1, created_at=NOW - 30 * 86_400 - 60)
    history.write([old, a_row(owner, 2)])
    assert history.page(asked(owner)).total == 1
    assert history.of_request(owner, old.request_id) == []
    history.prune()
    if isinstance(history, SqlHistory):
        with history._engine.connect() as connection:
            kept = connection.execute(
                text("select count(*) from history where request_id = :id"),
                {"id": old.request_id},
            )
            assert kept.scalar() == 0


def test_rows_of_one_request_are_those_of_its_owner_in_the_order_of_its_pictures(
    reopen: Open, owner: str
) -> None:
    history = reopen()
    rows = [replace(a_row(owner, 1), output=number) for number in range(3)]
    history.write([rows[2], rows[0], rows[1]])
    assert history.of_request(owner, rows[0].request_id) == rows
    assert list(history.page(asked(owner, descending=False)).rows) == rows


def test_a_page_ends_before_its_last_moment(reopen: Open, owner: str) -> None:
    history, row = reopen(), a_row(owner, 1)
    history.write([row])
    for since, until, found in (
        (row.created_at, row.created_at + 1, 1),
        (row.created_at + 0.5, row.created_at + 1, 0),
        (row.created_at - 1, row.created_at, 0),
    ):
        assert history.page(asked(owner, since=since, until=until)).total == found


def test_twenty_rows_are_a_page(reopen: Open, owner: str) -> None:
    history = reopen()
    history.write([a_row(owner, number) for number in range(21)])
    page = history.page(asked(owner))
    assert (len(page.rows), page.total) == (20, 21)


@pytest.mark.parametrize("model", ["%", "_", "flux_controlnet", "FLUX", "net "])
def test_a_filter_is_a_part_of_the_name_and_no_pattern(
    reopen: Open, owner: str, model: str
) -> None:
    history = reopen()
    history.write([a_row(owner, 1)])
    assert history.page(asked(owner, model=model)).total == 0
    assert history.page(asked(owner, model="x-control")).total == 1


@pytest.mark.parametrize(
    ("environment", "outcome"),
    [
        ({}, pytest.skip.Exception),
        ({"CI": "false", "REQUIRE_POSTGRES": ""}, pytest.skip.Exception),
        ({"CI": "true"}, pytest.fail.Exception),
        ({"REQUIRE_POSTGRES": "1"}, pytest.fail.Exception),
    ],
)
def test_without_postgresql_its_tests_are_skipped_with_a_reason_and_fail_in_ci(
    tmp_path: Path, environment: dict[str, str], outcome: type[BaseException]
) -> None:
    with pytest.raises(outcome, match="no initdb, postgres, pg_isready in PATH or in /usr/lib"):
        find_postgres({"PATH": str(tmp_path), **environment}, places=())


def test_postgresql_is_found_where_debian_installs_it(tmp_path: Path) -> None:
    for name in ("initdb", "postgres", "pg_isready"):
        (tmp_path / name).touch(mode=0o755)
    found = find_postgres({"PATH": "", "CI": "true"}, places=(tmp_path,))
    assert found["initdb"] == str(tmp_path / "initdb")


def by_url(url: str) -> Source:
    return Source(kind="url", url=url)


def a_record(**changes: object) -> RequestRecord:
    record = RequestRecord(
        id="a" * 32,
        owner="x",
        status=Status.COMPLETED,
        params=GenerationParameters(prompt="p" * 5000, seed=7),
        source=by_url("https://store.example/a.png?signature=secret#part"),
        created_at=NOW,
        expires_at=NOW + 3600,
        ended_at=NOW + 2,
        outputs=(Output("0.png"), Output("1.png")),
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def test_a_request_is_as_many_rows_as_it_has_pictures() -> None:
    rows = rows_of(a_record())
    assert [(row.output, row.picture) for row in rows] == [
        (0, Output("0.png")),
        (1, Output("1.png")),
    ]
    failed = a_record(status=Status.FAILED, error="no", outputs=())
    assert [(row.status, row.error, row.picture) for row in rows_of(failed)] == [
        ("FAILED", "no", None)
    ]


@pytest.mark.parametrize(
    ("status", "row_status", "cost", "error"),
    [
        (Status.QUEUED, "PENDING", 0.0, None),
        (Status.PROCESSING, "PENDING", 0.0, None),
        (Status.COMPLETED, "COMPLETED", 1.5, None),
        (Status.FAILED, "FAILED", 0.0, "no"),
    ],
)
def test_a_row_has_what_became_of_its_request(
    status: Status, row_status: str, cost: float, error: str | None
) -> None:
    record = a_record(
        status=status,
        params=PARAMS,
        source=SOURCE,
        started_at=NOW + 1,
        cost=1.5,
        error="no",
        inference_s=0.5,
        work=20.0,
        evaluations=40,
        profile="turbo",
        outputs=(Output("0.png", sha256="5", unknown_fields={"later": 1}),),
    )
    assert [json.loads(row.to_json()) for row in rows_of(record)] == [
        {
            "request_id": "a" * 32,
            "output": 0,
            "owner": "x",
            "model": "flux-controlnet",
            "status": row_status,
            "created_at": NOW,
            "started_at": NOW + 1,
            "ended_at": NOW + 2,
            "expires_at": NOW + 3600,
            "cost": cost,
            "error": error,
            "inputs": {"image": "(base64)", **PARAMS.to_body()},
            "made": {
                "file_name": "0.png",
                "content_type": "",
                "file_size": 0,
                "width": 0,
                "height": 0,
                "sha256": "5",
                "pixels_sha256": "",
                "seed": 0,
                "later": 1,
            },
            "inference_s": 0.5,
            "picture_expires_at": NOW + 3600,
            "queue_s": 1.0,
            "work": 20.0,
            "evaluations": 40,
            "profile": "turbo",
        }
    ]


def test_a_row_is_the_same_after_a_store_has_read_it() -> None:
    [row] = rows_of(a_record(outputs=(Output("0.png", sha256="5", unknown_fields={"later": 1}),)))
    assert HistoryRow.from_json(row.to_json()) == row


def test_a_source_of_no_known_kind_is_unknown() -> None:
    assert rows_of(a_record(source=Source()))[0].inputs["image"] == "(unknown)"


def test_inputs_are_named_as_they_came() -> None:
    """So that they can be sent again: a ready map as one, and no profile where none was named."""
    record = a_record(source=Source("control_image", "file"), params=replace(PARAMS, profile=""))
    inputs = rows_of(record)[0].inputs
    assert inputs["control_image"] == "(file)"
    assert not {"image", "profile", "only_map"} & inputs.keys()
    named = a_record(params=replace(PARAMS, profile="turbo", unknown_fields={"later": "x" * 3000}))
    assert rows_of(named)[0].inputs.items() >= {"profile": "turbo", "later": "x" * 2000}.items()


def test_a_long_url_is_cut_too() -> None:
    long = "https://store.example/" + "a" * 3000
    assert rows_of(a_record(source=by_url(long)))[0].inputs["image"] == long[:2000]


def test_texts_are_cut_and_secrets_of_urls_left_out() -> None:
    inputs = rows_of(a_record())[0].inputs
    expected = {"image": "https://store.example/a.png", "prompt": "p" * 2000, "seed": 7}
    assert inputs.items() >= expected.items()
    assert rows_of(a_record(source=SOURCE))[0].inputs["image"] == "(base64)"
    with_password = by_url("https://u:secret@store.example/a.png?sig=1")
    kept = rows_of(a_record(source=with_password))[0].inputs["image"]
    assert kept == "https://store.example/a.png"
    no_url = by_url("http://[")
    assert rows_of(a_record(source=no_url))[0].inputs["image"] == "(url)"


def test_a_database_without_an_encoding_of_its_own_keeps_texts(postgres: str, owner: str) -> None:
    """As initdb makes it in the C locale, which many containers have."""
    made = psycopg.connect(postgres, autocommit=True)
    made.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0")
    made.close()
    history, row = SqlHistory(postgres.replace("/postgres?", "/plain?"), DAYS), a_row(owner, 1)
    try:
        history.write([row])
        assert history.of_request(owner, row.request_id) == [row]
    finally:
        history.close()
