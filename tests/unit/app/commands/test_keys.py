"""`python -m app.cli keys ...` as its user sees it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from redis import Redis

from app.cli import main
from app.core.accounts.api_keys import KeyStore, Terms, digest
from app.core.redis import keys


@pytest.fixture(autouse=True)
def _here(redis: Redis, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("REDIS_URL", redis_server)


def test_a_key_from_its_making_to_its_end(redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    bounds = ["--credits", "12.5", "--rpm", "60", "--concurrency", "4", "--expires", "30d"]
    assert main(["keys", "create", "--name", "team-a", *bounds, "--admin"]) == 0
    made = re.fullmatch(
        r"id: (\w{12})  key: (SG_[0-9a-f]{32})  \(shown only now\)\n", capsys.readouterr().out
    )
    assert made is not None
    key_id, secret = made.groups()
    assert digest(secret).startswith(key_id)
    assert main(["keys", "topup", key_id, "0.5"]) == 0
    assert capsys.readouterr().out == f"{key_id}  credits: 13.0\n"
    assert main(["keys", "list"]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{key_id}  team-a  created: 20")
    assert "  credits: 13.0  rpm: 60  concurrency: 4  expires: 20" in line
    assert line.endswith("  admin: True\n")
    assert secret not in line
    assert main(["keys", "revoke", key_id]) == 0
    assert KeyStore(redis).all() == []


def test_the_list_has_the_spending_of_this_month(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    _, key = KeyStore(redis).create("team-a", Terms())
    now = datetime.now(UTC)
    sums = json.dumps({"requests": "1", "credits": "2500000000"})
    redis.hset(keys.usage(int(now.timestamp()) // 86_400), f"{key.id} team-a", sums)
    assert main(["keys", "list"]) == 0
    assert f"  {now:%Y-%m}: 2.5" in capsys.readouterr().out


def test_an_unknown_key_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "revoke", "0" * 12]) == 1
    assert main(["keys", "topup", "0" * 12, "5"]) == 1
    assert capsys.readouterr().err.count("0" * 12) == 2


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--credits", "-1", "credits: allowed is a number above 0"),
        ("--rpm", "0", "rpm: allowed is an integer from 1"),
        ("--expires", "soon", "expires: a period such as"),
        ("--name", "", "name: a name has"),
    ],
)
def test_nonsense_ends_with_one_line(option: str, value: str, sentence: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["keys", "create", "--name", "team-a", option, value])
    assert str(stopped.value).startswith(f"keys: {sentence}")


@pytest.mark.usefixtures("far_from_utc")
def test_moments_are_read_and_shown_in_utc(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    moment = "2099-12-31T23:30:00"
    assert main(["keys", "create", "--name", "team-a", "--expires", moment]) == 0
    [key] = KeyStore(redis).all()
    assert key.expires_at == 4_102_443_000.0
    redis.hset("keys:used", key.id, "1700000000")
    capsys.readouterr()
    assert main(["keys", "list"]) == 0
    line = capsys.readouterr().out
    assert f"  expires: {moment}.000Z  used: 2023-11-14T22:13:20.000Z" in line
