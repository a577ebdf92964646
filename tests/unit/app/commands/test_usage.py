"""`python -m app.cli usage ...` as its user sees it."""

from __future__ import annotations

import csv
import io
import json
from datetime import date

import pytest
from redis import Redis

from app.cli import main
from app.core.redis import keys

DAY = (date(2026, 11, 15) - date(1970, 1, 1)).days
NOVEMBER = ["usage", "--from", "2026-11-01", "--to", "2026-11-30"]


@pytest.fixture(autouse=True)
def _here(redis: Redis, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server)
    sums = {"requests": "12", "completed": "12", "credits": "60000000000", "queue 1": "12"}
    redis.hset(keys.usage(DAY), "0123456789ab team a", json.dumps(sums))
    redis.hset(keys.usage(DAY + 1), " team b", json.dumps({"requests": "1", "failed": "1"}))


def test_a_table_has_a_line_for_each_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NOVEMBER, "--group-by", "day,key"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["key", "day", "requests", "completed"]
    assert first.split() == ["-", "2026-11-16", "1", "0", "1", *"00000", "-", "-"]
    assert second.split()[-6:] == ["0", "0", "0", "60", "1", "1"]
    assert head.index("credits") == first.index("0", head.index("credits"))


def test_csv_is_what_a_spreadsheet_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NOVEMBER, "--group-by", "owner", "--group-by", "day", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(of["owner"], of["day"], of["credits"]) for of in rows] == [
        ("team a", "2026-11-15", "60.0"),
        ("team b", "2026-11-16", "0.0"),
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--from", "2026-11-02", "--to", "2026-11-01"], "usage: from: 2026-11-02 is after to"),
        (["--group-by", "month"], "usage: group_by: allowed are owner, key, day"),
    ],
)
def test_nonsense_ends_with_one_line(arguments: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["usage", *arguments])
    assert str(stopped.value).startswith(sentence)


def test_a_day_is_a_date(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["usage", "--from", "today"])
    assert "'today' is not a day such as 2026-11-30" in capsys.readouterr().err
