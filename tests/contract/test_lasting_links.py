"""Links that outlive the record of their request, over HTTP: pictures in a folder, real workers.

Control maps alone need no gpu worker. A record is deleted as Redis does at its expiry, and the age
of a file is moved by its modification time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from redis import Redis

from tests.support.bodies import small
from tests.support.servers import ROOT, a_key, environment, running_api, running_redis
from tests.support.waiting import until
from tests.support.wire import V1, wait_for_end

DAY_S = 86_400
HISTORY = "/inference-request/request-history"


@dataclass(frozen=True)
class Installation:
    """Redis and workers; pictures are files in `folder`."""

    redis_url: str
    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        return {"BLOB_URL": f"file://{self.folder}"}

    @contextmanager
    def api(self, **settings: str) -> Iterator[httpx.Client]:
        headers = {"x-api-key": a_key(self.redis_url)}
        with (
            running_api(self.redis_url, ready=False, **self.settings, **settings) as url,
            httpx.Client(base_url=url, headers=headers, timeout=120) as http,
        ):
            yield http

    def expire_record(self, request_id: str) -> None:
        with Redis.from_url(self.redis_url) as redis:
            redis.delete(f"req:{request_id}", f"req:{request_id}:events")
            redis.zadd("outputs:records", {request_id: time.time() - 1}, xx=True)

    def file(self, request_id: str) -> Path:
        return self.folder / request_id[:2] / f"{request_id}:output:0"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("blobs")
    with running_redis(tmp_path_factory.mktemp("redis")) as redis_url:
        made = Installation(redis_url, folder)
        command = [sys.executable, "-m", "app.cli", "worker"]
        workers = [
            subprocess.Popen(
                [*command, kind], cwd=ROOT, env=environment(REDIS_URL=redis_url, **made.settings)
            )
            for kind in ("cpu", "finish", "webhooks")
        ]
        yield made
        for worker in workers:
            worker.terminate()
        assert [worker.wait(60) for worker in workers] == [0, 0, 0]


def mapped(http: httpx.Client, image: str | None = None) -> dict[str, Any]:
    """The result of a request for a canny map alone."""
    body = small() | {"cn_type": "canny"} | ({"image": image} if image else {})
    answer = http.post(f"{V1}/preprocess", json={name: body[name] for name in ("image", "cn_type")})
    assert answer.status_code == 200, answer.text
    result = wait_for_end(http, f"/v2/requests/{answer.headers['x-request-id']}").json()
    # The history has it once the notifier has written it.
    until(lambda: http.get(f"{HISTORY}/{result['request_id']}").json()["generation_url"])
    return dict(result)


def test_a_link_opens_the_picture_for_a_week_although_the_record_expires_after_an_hour(
    installation: Installation,
) -> None:
    with installation.api() as http:
        result = mapped(http)
        request_id, link = result["request_id"], result["output"]
        picture = http.get(link).content
        expires_at = int(parse_qs(urlsplit(link).query)["exp"][0])
        assert expires_at - time.time() == pytest.approx(7 * DAY_S, abs=60)
        assert installation.file(request_id).stat().st_mtime == expires_at

        installation.expire_record(request_id)
        assert http.get(f"/v2/requests/{request_id}").status_code == 404
        with httpx.Client() as without_key:
            opened = without_key.get(link)
            head = without_key.head(link)
        assert (opened.status_code, opened.content) == (200, picture)
        assert opened.headers["content-type"] == "image/png"
        assert "max-age=6" in opened.headers["cache-control"]  # 604 800 s less the age
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(picture)))
        assert http.get(link.replace("/0.png", "/1.png")).status_code == 404
        assert http.get(link[:-1] + ("0" if link[-1] != "0" else "1")).status_code == 404

        # The history links it, and a new request may use it.
        until(lambda: http.get(HISTORY).json()["data"])
        [row] = [of for of in http.get(HISTORY).json()["data"] if of["request_id"] == request_id]
        assert http.get(row["generation_url"]).content == picture
        assert http.get(mapped(http, link)["output"]).status_code == 200

        # Day 8.
        os.utime(installation.file(request_id), (time.time() - 1, time.time() - 1))
        assert http.get(link).status_code == 404


def test_the_quota_removes_pictures_whose_records_have_expired(installation: Installation) -> None:
    with installation.api(OUTPUT_QUOTA_BYTES="0") as http:
        outlived, living = mapped(http), mapped(http)
        installation.expire_record(outlived["request_id"])
        until(lambda: http.get(outlived["output"]).status_code == 404)
        assert http.get(living["output"]).status_code == 200
        assert not installation.file(outlived["request_id"]).exists()
