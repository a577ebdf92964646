"""API keys: stored as hashes only; what each may do, how long it lives, and what is known of it."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from app.core.accounts import api_keys as module
from app.core.accounts.api_keys import Key, KeyReport, KeyStore, Terms, digest, mint, parse_expiry
from app.core.accounts.credits import to_amount
from app.core.redis import keys
from app.core.requests.record import Stage
from app.core.requests.stage_results import FinishResult
from app.core.requests.store import Account, RequestStore
from tests.support.records import PARAMS, SOURCE


def test_a_minted_key_has_the_hosted_form_and_128_bits() -> None:
    assert re.fullmatch(r"SG_[0-9a-f]{32}", mint())
    assert mint() != mint()


def test_a_key_lives_until_it_is_revoked(redis: Redis) -> None:
    store, secret = KeyStore(redis), mint()
    key = store.add(secret, "team-a")
    assert store.all() == [key]
    assert store.revoke(key.id)
    assert store.all() == []
    assert not store.revoke(key.id)


def test_redis_never_sees_a_secret(redis: Redis) -> None:
    secret = mint()
    KeyStore(redis).add(secret, "team-a")
    dump = repr([redis.hgetall(key) for key in redis.scan_iter()])
    assert secret not in dump
    assert secret.removeprefix("SG_") not in dump


def test_part_of_an_id_revokes_nothing(redis: Redis) -> None:
    store, secret = KeyStore(redis), mint()
    key = store.add(secret, "a")
    for part in ("", key.id[:1], key.id[:-1], key.id + "0"):
        assert not store.revoke(part)
    assert store.all() == [key]


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 65, "tab\t"])
def test_a_name_is_one_short_printable_line(redis: Redis, name: str) -> None:
    with pytest.raises(ValueError, match="a name has 1 to 64"):
        KeyStore(redis).add(mint(), name)


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        ({"credits": 0}, "credits"),
        ({"credits": -1.5}, "credits"),
        ({"credits": float("nan")}, "credits"),
        ({"credits": float("inf")}, "credits"),
        ({"credits": 1_000_000.5}, "credits"),
        ({"rpm": 0}, "rpm"),
        ({"rpm": 1_000_001}, "rpm"),
        ({"concurrency": -1}, "concurrency"),
        ({"concurrency": 1001}, "concurrency"),
    ],
)
def test_nonsense_is_refused_by_name(terms: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}: allowed is "):
        Terms(**terms)


@pytest.mark.parametrize(
    "terms",
    [
        {"credits": 1_000_000.0},
        {"credits": 1e-9},
        {"rpm": 1},
        {"rpm": 1_000_000},
        {"concurrency": 1},
        {"concurrency": 1000},
        {},
    ],
)
def test_the_bounds_themselves_are_allowed(terms: dict[str, Any]) -> None:
    for name, value in terms.items():
        assert getattr(Terms(**terms), name) == value
    assert Terms(**terms).admin is False


def test_terms_are_kept(redis: Redis) -> None:
    store = KeyStore(redis)
    _, key = store.create(
        "team-a", Terms(2.5, 60, 4, 4e9, admin=True, webhook_url="https://a.example")
    )
    assert (key.budgeted, key.rpm, key.concurrency, key.expires_at) == (True, 60, 4, 4e9)
    assert (key.admin, key.webhook_url) == (True, "https://a.example")
    assert store.all() == [key]
    [report] = store.report()
    assert (report.key, report.credits, report.spent, report.last_used) == (key, 2.5, 0.0, None)


def test_an_owner_may_have_several_keys(redis: Redis) -> None:
    store = KeyStore(redis)
    secrets = {store.create("team-a", Terms(credits=number))[0] for number in (1.0, 2.0)}
    assert len(secrets) == 2
    assert [report.credits for report in store.report()] == [1.0, 2.0]


def test_a_key_from_before_there_were_terms_still_works(redis: Redis) -> None:
    secret = mint()
    old = {"id": digest(secret)[:12], "name": "team-a", "created_at": 5.0}
    redis.hset(keys.API_KEYS, digest(secret), json.dumps(old))
    assert KeyStore(redis).all() == [Key(old["id"], "team-a", 5.0)]
    assert KeyStore(redis).all()[0].live(time.time())


def test_a_key_has_exactly_the_permissions_of_its_record() -> None:
    assert asdict(Key("a", "team-a", 5.0)) == {
        "id": "a",
        "name": "team-a",
        "created_at": 5.0,
        "expires_at": None,
        "budgeted": False,
        "rpm": None,
        "concurrency": None,
        "admin": False,
        "webhook_url": "",
    }
    assert asdict(Terms()) == {
        "credits": None,
        "rpm": None,
        "concurrency": None,
        "expires_at": None,
        "admin": False,
        "webhook_url": "",
    }


def test_a_key_of_a_later_version_can_be_read() -> None:
    assert Key.from_json('{"id": "a", "name": "b", "created_at": 1.0, "later": 2}').id == "a"


def test_adding_a_key_again_keeps_its_terms(redis: Redis) -> None:
    """As `scripts/up` does with its own key at every start."""
    store = KeyStore(redis)
    secret, key = store.create("team-a", Terms(credits=3.0, rpm=7))
    again = store.add(secret, "default")
    assert (again.name, again.rpm, again.created_at) == ("default", 7, key.created_at)
    assert store.report()[0].credits == 3.0


def test_revoking_forgets_all_of_a_key(redis: Redis) -> None:
    store = KeyStore(redis)
    _, key = store.create("team-a", Terms(credits=3.0))
    redis.hset(keys.API_KEYS_USED, key.id, "5")
    assert store.revoke(key.id)
    assert redis.keys() == []
    assert store.top_up(key.id, 1.0) is None


def test_revoking_forgets_what_a_request_has_spent_since_its_key_was_revoked(
    redis: Redis,
) -> None:
    """The request ends after the revocation, and its end must not recreate the counters."""
    store, requests = KeyStore(redis), RequestStore(redis, 60)
    _, first = store.create("team-a", Terms(credits=3.0))
    _, second = store.create("team-a", Terms())
    _, third = store.create("team-b", Terms())
    for number, key in enumerate((first, third)):
        account, request_id = Account(key.id, 1.0, to_amount(1.0)), f"{number:032x}"
        requests.submit(request_id, "t", PARAMS, SOURCE, requests.expiry(), account=account)
        if key is first:
            assert store.revoke(first.id)
        requests.claim(request_id, Stage.PREPARE, "e")
        requests.charge(request_id, "e", to_amount(1.0))
        requests.complete(request_id, "e", FinishResult())
    assert redis.hkeys("spent") == [first.id.encode(), third.id.encode()]
    assert store.revoke(second.id)
    assert redis.hkeys("spent") == [third.id.encode()]
    assert redis.exists("reservations", "credits") == 0


@pytest.mark.parametrize("expires_at", [None, 100.0])
def test_a_key_lives_until_its_expiry(expires_at: float | None) -> None:
    key = Key("a", "b", 1.0, expires_at)
    assert [key.live(moment) for moment in (99.99, 100.0)] == [True, expires_at is None]


@pytest.mark.parametrize("name", ["a", "x" * 64, "Team 1", "a.b_c-d@e", "Ärzte"])
def test_a_name_has_up_to_sixty_four_letters_digits_or_some_signs(redis: Redis, name: str) -> None:
    secret = mint()
    assert KeyStore(redis).add(secret, name).name == name


def test_a_key_is_known_by_the_beginning_of_the_digest_of_its_secret(redis: Redis) -> None:
    secret = "SG_" + "0" * 32
    key = KeyStore(redis).add(secret, "a")
    assert digest(secret) == hashlib.sha256(secret.encode()).hexdigest()
    assert key.id == digest(secret)[:12]
    assert redis.hkeys("keys") == [digest(secret).encode()]


def test_keys_are_listed_oldest_first(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    store, made = KeyStore(redis), []
    for moment in (30.0, 10.0, 20.0):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda moment=moment: moment))
        made.append(store.add(mint(), "a"))
    assert store.all() == [made[1], made[2], made[0]]
    assert [report.key for report in store.report()] == store.all()


def test_a_report_has_what_became_of_each_key(redis: Redis) -> None:
    store = KeyStore(redis)
    _, key = store.create("team-a", Terms(credits=3.0))
    redis.hset("keys:used", key.id, "1000.5")
    redis.hset("spent", key.id, 250_000_000)
    assert store.report() == [KeyReport(key, 3.0, 0.25, 1000.5)]


def test_adding_a_key_again_with_terms_changes_them_and_keeps_its_balance(redis: Redis) -> None:
    store = KeyStore(redis)
    secret, _ = store.create("team-a", Terms(credits=3.0))
    again = store.add(secret, "team-a", Terms(credits=9.0, rpm=5))
    assert (again.rpm, again.budgeted) == (5, True)
    assert store.report()[0].credits == 3.0


def test_a_top_up_is_an_amount(redis: Redis) -> None:
    store = KeyStore(redis)
    _, key = store.create("team-a", Terms(credits=3.0))
    assert store.top_up(key.id, 0.5) == 3.5


@pytest.mark.parametrize("amount", [0.0, -1.0, float("nan"), float("inf"), 1_000_000.5])
def test_a_top_up_has_the_bounds_of_a_budget(redis: Redis, amount: float) -> None:
    store = KeyStore(redis)
    _, key = store.create("team-a", Terms(credits=3.0))
    with pytest.raises(ValueError, match="^credits: .* above 0 and at most 1000000$"):
        store.top_up(key.id, amount)
    assert store.top_up(key.id, 1_000_000.0) == 1_000_003.0


def test_a_moment_that_is_past_is_no_expiry() -> None:
    assert parse_expiry("1970-01-02T00:00:01", 86_400) == 86_401
    for text in ("1970-01-02T00:00:00", "1970-01-01"):
        with pytest.raises(ValueError, match="^expires: this moment is past$"):
            parse_expiry(text, 86_400)


def test_an_expiry_is_a_period_or_a_moment() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
    for text, expected in (
        ("90s", now + 90),
        ("45m", now + 2700),
        ("12h", now + 43_200),
        ("30d", now + 2_592_000),
        ("2026-12-01", datetime(2026, 12, 1, tzinfo=UTC).timestamp()),
        ("2026-11-23T14:00:00+01:00", now + 3600),
        ("2026-11-23T13:00:00Z", now + 3600),
    ):
        assert parse_expiry(text, now) == expected


@pytest.fixture(params=["Asia/Kathmandu", "America/St_Johns"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine is somewhere else than in UTC."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_a_moment_without_a_zone_is_in_utc_wherever_the_machine_is() -> None:
    assert parse_expiry("1970-01-02", 0) == 86_400
    assert parse_expiry("1970-01-02T00:00", 0) == 86_400
    assert parse_expiry("1970-01-02T00:00:00+05:45", 0) == 86_400 - 20_700
    assert parse_expiry("1d", 3600) == 90_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "0d",
        "-1h",
        "1y",
        "12",
        "2026-13-01",
        "2020-01-01",
        "1000000000s",
        "012h",
        "1 h",
        "1H",
        "\u0661h",
        "9" * 9 + "d",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_anything_else_is_no_expiry(text: str) -> None:
    with pytest.raises(ValueError, match="^expires: "):
        parse_expiry(text, time.time())


@pytest.mark.usefixtures("far_from_utc")
@pytest.mark.parametrize(
    ("text", "expires_at"),
    [
        ("2030-01-31", 1_896_048_000.0),
        ("2030-01-31T12:30", 1_896_093_000.0),
        ("2030-01-31 12:30:00.5", 1_896_093_000.5),
        ("2030-01-31T12:30:00Z", 1_896_093_000.0),
        ("2030-01-31T12:30:00+13:45", 1_896_043_500.0),
        ("12h", 1_800_043_200.0),
    ],
)
def test_a_moment_without_a_zone_is_in_utc_wherever_the_server_is(
    text: str, expires_at: float
) -> None:
    assert parse_expiry(text, 1_800_000_000.0) == expires_at


def test_an_expiry_is_later_than_now() -> None:
    now = datetime(2030, 1, 31, tzinfo=UTC).timestamp()
    with pytest.raises(ValueError, match="^expires: this moment is past$"):
        parse_expiry("2030-01-31", now)
    assert parse_expiry("2030-01-31T00:00:01", now) == now + 1
