"""Response headers: content type, caching, and no MIME sniffing or script execution."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis

from app.api.http.headers import SECURITY_HEADERS
from app.core.redis import keys
from app.core.requests.record import Stage
from app.core.requests.stage_results import FinishResult, StageResult
from app.core.requests.store import RequestStore
from app.core.requests.types import Output
from app.core.settings import Settings
from app.core.storage.links import LinkSigner, output_path
from app.core.storage.redis import RedisBlobs
from app.main import create_app
from tests.support.records import PARAMS, SOURCE


def test_the_headers_of_every_response() -> None:
    assert SECURITY_HEADERS == {
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }


@pytest.fixture
def app(redis_server: str, redis: Redis) -> FastAPI:  # noqa: ARG001  # it is emptied first
    return create_app(Settings(redis_url=redis_server))


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def link(redis: Redis) -> str:
    """To a finished picture, whose bytes look like a page with a script in it."""
    request_id, store = uuid4().hex, RequestStore(redis, ttl_s=60)
    expires_at = store.expiry()
    store.submit(request_id, "team-a", PARAMS, SOURCE, expires_at)
    for stage in (Stage.PREPARE, Stage.GENERATE):
        store.claim(request_id, stage, "e")
        store.advance(request_id, stage, "e", StageResult())
    store.claim(request_id, Stage.FINISH, "e")
    store.complete(request_id, "e", FinishResult((Output("0.png", "image/png"),)))
    RedisBlobs(redis).put(keys.output_blob(request_id, 0), b"<html><script>", expires_at)
    return LinkSigner(redis).sign(output_path(request_id, "0.png"), int(expires_at))


def test_a_picture_is_a_picture_whatever_is_in_it(api: TestClient, link: str) -> None:
    answer = api.get(link)
    assert answer.content == b"<html><script>"
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_picture_is_kept_by_one_browser_and_no_longer_than_here(
    api: TestClient, link: str
) -> None:
    caching = api.get(link).headers["cache-control"]
    kept = re.fullmatch(r"private, max-age=(\d+), immutable", caching)
    assert kept is not None
    assert 0 < int(kept[1]) <= 60
    assert api.get(link + "0").headers["cache-control"] == "no-store"


def test_an_unexpected_error_is_as_safe_as_any_answer(
    app: FastAPI, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.services.links, "valid", None)
    answer = api.get("/files/x/0.png")
    assert answer.status_code == 500
    assert answer.json() == {"error": "Internal server error"}
    assert answer.headers.items() >= SECURITY_HEADERS.items()
