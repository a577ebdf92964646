"""Usage on a whole server: HTTP, CSV and the command line report what the responses have said."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from app.core.accounts.api_keys import KeyStore, Terms
from app.core.accounts.credits import Ledger
from app.core.redis.connection import connect
from tests.support.bodies import small
from tests.support.servers import ROOT, Server, environment, paused
from tests.support.wire import V2, Wire, finished, wait_for_end

OWNER = "team-usage"


@pytest.fixture
def redis(server: Server) -> Iterator[Redis]:
    client = connect(server.redis_url)
    yield client
    client.close()


@pytest.fixture
def http(server: Server, wire: Wire) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=120) as plain:
        wire.watch(plain)
        yield plain


def test_usage_is_that_of_the_responses_and_of_the_ledger(
    server: Server, http: httpx.Client, redis: Redis
) -> None:
    """Of two keys, which have been revoked when it is asked for."""
    store = KeyStore(redis)
    secret, admin_key = store.create("root", Terms(admin=True))
    made = [store.create(OWNER, Terms(credits=100.0)) for _ in range(2)]
    ids = [key.id for _, key in made]
    http.headers["x-api-key"] = made[0][0]
    metrics = [finished(http, small(samples=2))["metrics"]]
    failed = http.post(V2, json=small(image="aGVsbG8=")).json()
    assert wait_for_end(http, failed["status_url"]).status_code == 422
    http.headers["x-api-key"] = made[1][0]
    metrics.append(finished(http, small())["metrics"])
    with paused(server, "worker gpu"):
        cancelled = http.post(V2, json=small()).json()
        assert http.delete(f"/v2/requests/{cancelled['request_id']}").status_code == 200
    spent = Ledger(redis).spent()
    for key_id in ids:
        assert store.revoke(key_id)

    http.headers["x-api-key"] = secret
    rows = http.get("/admin/usage", params={"group_by": "owner,key"}).json()["usage"]
    counts = {
        row["key"]: tuple(row[name] for name in ("requests", "completed", "failed", "cancelled"))
        for row in rows
        if row["owner"] == OWNER
    }
    assert counts == {ids[0]: (2, 1, 1, 0), ids[1]: (2, 1, 0, 1)}
    assert {row["key"]: row["credits"] for row in rows if row["owner"] == OWNER} == {
        key_id: spent[key_id] for key_id in ids
    }

    answer = http.get("/admin/usage", params={"group_by": "owner", "format": "csv"})
    [read] = [row for row in csv.DictReader(io.StringIO(answer.text)) if row["owner"] == OWNER]
    assert (read["requests"], read["pictures"]) == ("4", "3")
    assert float(read["credits"]) == sum(of["cost"] for of in metrics)
    assert float(read["work_units"]) == sum(of["work_units"] for of in metrics)
    gpu_s = sum(of["inference_time"] for of in metrics)
    assert float(read["gpu_seconds"]) == pytest.approx(gpu_s, abs=0.01)
    longest_s = max(of["queue_time"] for of in metrics)
    assert float(read["queue_p95_s"]) == pytest.approx(longest_s, rel=0.15)

    command = [sys.executable, "-m", "app.cli", "usage", "--group-by", "owner", "--csv"]
    printed = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(REDIS_URL=server.redis_url),
        capture_output=True,
        check=True,
    )
    assert printed.stdout.decode() == answer.text
    store.revoke(admin_key.id)
