"""The history over HTTP: its parameters, its date ranges, and its responses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.deps import Services
from app.core.accounts.api_keys import Terms
from app.core.history.base import HistoryRow, rows_of
from tests.support.records import completed, queued, record

HISTORY = "/inference-request/request-history"
GENERATIONS = "/inference-request/generations"
RECENT = "/inference-request/recent-generations"
DAY_S = 86_400


def today() -> float:
    """The begin of this day in UTC, which does not end within the next seconds."""
    left_s = DAY_S - time.time() % DAY_S
    if left_s < 10:
        time.sleep(left_s)
    return time.time() // DAY_S * DAY_S


def row(number: int, created_at: float, **changes: Any) -> HistoryRow:
    [first] = rows_of(record(outputs=record().outputs[:1]))
    request_id = f"{number:032x}"
    return replace(first, request_id=request_id, created_at=created_at, **changes)


def written(services: Services, *created: float, **changes: Any) -> list[str]:
    """The ids of rows of team-a of these moments."""
    rows = [row(number, moment, **changes) for number, moment in enumerate(created)]
    services.history.write(rows)
    return [one.request_id for one in rows]


def ids(answer: Any, key: str = "data") -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["request_id"] for one in answer.json()[key]]


def date(days: int) -> str:
    """So many days from today, in UTC."""
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


# ---- which days


@pytest.mark.usefixtures("far_from_utc")
def test_days_begin_and_end_in_utc(api: TestClient, inside: Services) -> None:
    day = today() - 3 * DAY_S
    before, first, last, after = written(inside, day - 0.5, day, day + DAY_S - 0.5, day + DAY_S)
    name = datetime.fromtimestamp(day, UTC).strftime("%Y-%m-%d")
    asked = {"from_date": name, "to_date": name}
    assert ids(api.get(HISTORY, params=asked)) == [last, first]
    asked = {"start_date": name, "end_date": name}
    assert ids(api.get(GENERATIONS, params=asked), "generations") == [last, first]
    everything = ids(api.get(GENERATIONS), "generations")
    assert everything == [after, last, first, before]


@pytest.mark.usefixtures("far_from_utc")
def test_days_of_what_has_not_ended_begin_and_end_in_utc(api: TestClient, inside: Services) -> None:
    day = today()
    for number, moment in enumerate((day - 0.5, day, day + DAY_S - 0.5, day + DAY_S)):
        queued(inside.requests, f"{number:032x}")
        inside.redis.hset(f"req:{number:032x}", "created_at", repr(moment))
    asked = {"from_date": date(0), "to_date": date(0)}
    assert sorted(ids(api.get(HISTORY, params=asked))) == [f"{1:032x}", f"{2:032x}"]


@pytest.mark.usefixtures("far_from_utc")
def test_the_default_range_is_the_last_seven_days_and_today(
    api: TestClient, inside: Services
) -> None:
    begin = today() - 7 * DAY_S
    before, first, now = written(inside, begin - 1, begin, time.time())
    assert ids(api.get(HISTORY)) == [now, first]
    assert ids(api.get(HISTORY, params={"from_date": date(-8)})) == [now, first, before]
    assert ids(api.get(HISTORY, params={"to_date": date(-1)})) == [first, before]


@pytest.mark.usefixtures("far_from_utc")
def test_a_new_generation_is_among_the_recent_ones(api: TestClient, inside: Services) -> None:
    made = written(inside, today() + DAY_S + 1)  # by a clock that is ahead
    assert ids(api.get(GENERATIONS), "generations") == made
    recent = api.get(RECENT, params={"model_name": "flux"})
    assert ids(recent, "generations") == made


@pytest.mark.parametrize(
    ("first", "last", "error"),
    [
        ("2026-01-01", "2026-02-01", None),
        (
            "2026-01-01",
            "2026-02-02",
            "from_date: 2026-01-01 is more than 31 days before to_date (2026-02-02)",
        ),
        ("2026-01-02", "2026-01-02", None),
        ("2026-01-02", "2026-01-01", "from_date: 2026-01-02 is after to_date (2026-01-01)"),
        ("0001-01-01", "0001-01-01", None),
        ("9999-12-31", "9999-12-31", None),
    ],
)
def test_a_window_has_at_most_31_days(
    api: TestClient, first: str, last: str, error: str | None
) -> None:
    answer = api.get(HISTORY, params={"from_date": first, "to_date": last})
    assert answer.status_code == (200 if error is None else 400)
    assert answer.json().get("error") == error


@pytest.mark.parametrize("last", ["0001-01-01", "0001-01-08"])
def test_the_first_days_of_all_are_a_window(api: TestClient, last: str) -> None:
    assert ids(api.get(HISTORY, params={"to_date": last})) == []


# ---- what may be asked


@pytest.mark.parametrize(
    ("path", "name", "value", "taken"),
    [
        *((HISTORY, "page", page, page in (1, 1_000_000)) for page in (0, 1, 1_000_000, 1_000_001)),
        *((GENERATIONS, "page", page, page == 1_000_000) for page in (0, 1_000_000, 1_000_001)),
        *((HISTORY, "per_page", number, number in (1, 100)) for number in (0, 1, 100, 101)),
        *((HISTORY, "status", word, True) for word in ("", "COMPLETED", "FAILED", "PENDING")),
        *((HISTORY, "status", word, False) for word in ("completed", "QUEUED")),
        *((HISTORY, "sort_by", word, True) for word in ("model_created", "model_name")),
        *((HISTORY, "sort_by", word, word != "cost") for word in ("credits_deduction", "cost")),
        *((HISTORY, "sort_order", word, word != "up") for word in ("asc", "desc", "up")),
        *((HISTORY, "model_name", "a" * many, many == 64) for many in (64, 65)),
        *((GENERATIONS, "model_name", "a" * many, many == 64) for many in (64, 65)),
        *((RECENT, "model_name", "a" * many, many in (1, 64)) for many in (0, 1, 64, 65)),
        *((HISTORY, "model_name", text, text == "~ ") for text in ("~ ", "é", "\n")),
        *((HISTORY, "user_id", "a" * many, many == 64) for many in (64, 65)),
        *((HISTORY, "user_email", "a" * many, many == 64) for many in (64, 65)),
        *((GENERATIONS, "user_id", "a" * many, many == 64) for many in (64, 65)),
        *((HISTORY, "from_date", text, False) for text in ("yesterday", "2026-13-01")),
        (GENERATIONS, "start_date", "2026-02-30", False),
        (GENERATIONS, "end_date", "x", False),
        (HISTORY, "unknown", "x", True),
        (RECENT, "model", "flux", False),
    ],
)
def test_each_parameter_has_its_range(
    api: TestClient, path: str, name: str, value: object, taken: bool
) -> None:
    answer = api.get(path, params={name: str(value)})
    assert answer.status_code == (200 if taken else 400), answer.text
    if not taken:
        named = "model_name" if name == "model" else name
        assert answer.json()["error"].startswith(f"{named}: ")


def test_the_history_needs_a_key(api: TestClient) -> None:
    for path in (HISTORY, f"{HISTORY}/x", GENERATIONS, f"{RECENT}?model_name=x"):
        assert api.get(path, headers={"x-api-key": ""}).status_code == 401


# ---- pages


def test_a_page_of_the_history_has_twenty_rows_by_default(
    api: TestClient, inside: Services
) -> None:
    made = written(inside, *(time.time() - 100 + number for number in range(41)))[::-1]
    answer = api.get(HISTORY)
    assert ids(answer) == made[:20]
    counts = {name: answer.json()[name] for name in ("page", "per_page", "total", "total_pages")}
    assert counts == {"page": 1, "per_page": 20, "total": 41, "total_pages": 3}
    assert ids(api.get(HISTORY, params={"page": 3})) == made[40:]
    second = api.get(HISTORY, params={"page": 2, "per_page": 41, "sort_order": "asc"})
    assert (ids(second), second.json()["total_pages"]) == ([], 1)
    oldest = api.get(HISTORY, params={"page": 2, "per_page": 3, "sort_order": "asc"})
    assert ids(oldest) == made[::-1][3:6]


def test_a_page_of_generations_is_of_twenty(api: TestClient, inside: Services) -> None:
    made = written(inside, *(time.time() - 100 + number for number in range(40)))[::-1]
    answer = api.get(GENERATIONS, params={"page": 2})
    assert ids(answer, "generations") == made[20:]
    counts = {name: answer.json()[name] for name in ("page", "total", "total_pages")}
    assert counts == {"page": 2, "total": 40, "total_pages": 2}
    assert ids(api.get(RECENT, params={"model_name": "FLUX"}), "generations") == made[:20]


def test_unfinished_requests_come_first_in_the_history(api: TestClient, inside: Services) -> None:
    ended = written(inside, time.time() - 50, time.time() - 40)[::-1]
    waiting = [queued(inside.requests, f"{number:032x}") for number in (8, 9)][::-1]
    answer = api.get(HISTORY, params={"per_page": 3})
    assert ids(answer) == [*waiting, ended[0]]
    assert (answer.json()["total"], answer.json()["total_pages"]) == (4, 2)
    assert ids(api.get(HISTORY, params={"per_page": 3, "page": 2})) == [ended[1]]
    pending = api.get(HISTORY, params={"status": "PENDING", "per_page": 1, "page": 2})
    assert (ids(pending), pending.json()["total"]) == ([waiting[1]], 2)
    assert ids(api.get(HISTORY, params={"status": "COMPLETED"})) == ended
    assert ids(api.get(HISTORY, params={"status": "FAILED"})) == []
    assert ids(api.get(HISTORY, params={"to_date": date(-1)})) == []
    assert ids(api.get(HISTORY, params={"model_name": "other"})) == []
    assert ids(api.get(HISTORY, params={"model_name": "CONTROL"})) == [*waiting, *ended]
    assert ids(api.get(GENERATIONS), "generations") == ended


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ({}, True),
        ({"user_id": "team-a"}, True),
        ({"user_email": "team-a"}, True),
        ({"user_id": "team-b"}, False),
        ({"user_email": "team-b"}, False),
        ({"user_id": "team-a", "user_email": "team-b"}, False),
    ],
)
def test_only_the_owner_of_the_key_has_requests(
    api: TestClient, inside: Services, asked: dict[str, str], seen: bool
) -> None:
    own = written(inside, time.time())
    inside.history.write([row(9, time.time(), owner="team-b")])
    queued(inside.requests, "f" * 32, owner="team-b")
    assert ids(api.get(HISTORY, params=asked)) == (own if seen else [])
    if "user_email" not in asked:
        expected = own if seen else []
        assert ids(api.get(GENERATIONS, params=asked), "generations") == expected


@pytest.mark.parametrize(
    ("asked", "owners"),
    [
        ({}, ["root"]),
        ({"user_id": "team-a"}, ["team-a"]),
        ({"user_email": "team-b"}, ["team-b"]),
        ({"user_id": "team-b", "user_email": "team-b"}, ["team-b"]),
        ({"user_id": "team-a", "user_email": "team-b"}, []),
        ({"user_id": "team-c"}, []),
        ({"user_id": "*"}, ["team-b", "team-a", "root"]),
        ({"user_id": "*", "user_email": "team-a"}, []),
    ],
)
def test_an_admin_reads_the_history_of_the_owner_that_it_names(
    api: TestClient, inside: Services, asked: dict[str, str], owners: list[str]
) -> None:
    made = {}
    for number, name in enumerate(("root", "team-a", "team-b")):
        ended = row(number, time.time(), owner=name)
        inside.history.write([ended])
        made[name] = [queued(inside.requests, f"{8 + number:032x}", owner=name), ended.request_id]
    admin = {"x-api-key": inside.keys.create("root", Terms(admin=True))[0]}
    unfinished, ended_ids = ([made[owner][at] for owner in owners] for at in (0, 1))
    assert ids(api.get(HISTORY, params=asked, headers=admin)) == unfinished + ended_ids
    if "user_email" not in asked:
        found = ids(api.get(GENERATIONS, params=asked, headers=admin), "generations")
        assert found == ended_ids
    for request_id in made["team-b"]:
        assert api.get(f"{HISTORY}/{request_id}", headers=admin).json()["user_id"] == "team-b"


# ---- one request


def test_the_history_of_a_request_links_all_its_pictures(api: TestClient, inside: Services) -> None:
    """From the record until it is in the history, and from there as long as that is kept."""
    request_id = completed(inside.requests)
    found = inside.requests.get(request_id)
    assert found is not None
    for _ in range(2):
        answer = api.get(f"{HISTORY}/{request_id}").json()
        urls = answer.pop("generation_urls")
        assert [url.partition("?")[0].rpartition("/")[2] for url in urls] == ["0.jpeg", "1.jpeg"]
        assert answer["generation_url"] == urls[0]
        assert (answer["request_id"], answer["output"], answer["width"]) == (request_id, 0, 520)
        inside.history.write(rows_of(found))
        inside.requests.forget(request_id)


def test_a_request_of_another_or_none_is_404(api: TestClient, inside: Services) -> None:
    foreign: Sequence[str] = (queued(inside.requests, owner="team-b"), "a" * 31, "f" * 32)
    for request_id in (*foreign, "x" * 100):
        answer = api.get(f"{HISTORY}/{request_id}")
        assert answer.status_code == 404
        assert answer.json() == {"error": f"Request {request_id[:64]} not found"}


def test_a_picture_that_the_quota_has_removed_has_no_link(
    api: TestClient, inside: Services
) -> None:
    """The record has expired; the pictures of the first request are still stored."""
    now = int(time.time())
    for number in (1, 2):
        request_id = completed(inside.requests, f"{number:032x}", outputs_expire_at=now + 7 * DAY_S)
        found = inside.requests.get(request_id)
        assert found is not None
        rows = [replace(one, expires_at=now - 1.0) for one in rows_of(found)]
        inside.history.write(rows)
        inside.requests.forget(request_id)
    inside.redis.hdel("outputs:bytes", f"{2:032x}")
    answers = (
        *(api.get(HISTORY).json()["data"], api.get(GENERATIONS).json()["generations"]),
        api.get(RECENT, params={"model_name": "flux"}).json()["generations"],
    )
    for rows_shown in answers:
        linked = {one["request_id"] for one in rows_shown if one["generation_url"]}
        assert linked == {f"{1:032x}"}
        assert {one["request_id"] for one in rows_shown} == {f"{1:032x}", f"{2:032x}"}
    for number, links in ((1, 2), (2, 0)):
        assert len(api.get(f"{HISTORY}/{number:032x}").json()["generation_urls"]) == links
