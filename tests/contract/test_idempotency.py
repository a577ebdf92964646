"""The Idempotency-Key header of both submissions, and of a control map alone."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from redis import Redis

from app.core.accounts.api_keys import KeyStore
from tests.support.bodies import slow, small
from tests.support.servers import Server, a_key
from tests.support.wire import V1, V2, wait_for_end


def header(key: str) -> dict[str, str]:
    return {"idempotency-key": key}


def submitted(http: httpx.Client, key: str, body: dict[str, Any], **more: str) -> str:
    answer = http.post(V2, json=body, headers={**header(key), **more})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["request_id"])


@pytest.fixture
def key() -> str:
    return secrets.token_hex(8)


def test_the_same_again_is_the_same_request(http: httpx.Client, key: str) -> None:
    """On v2 before and after its end, and on v1, which answers with its picture; seed -1 is drawn
    once."""
    request_id = submitted(http, key, small(seed=-1))
    assert submitted(http, key, small(seed=-1)) == request_id
    result = wait_for_end(http, f"/v2/requests/{request_id}").json()
    assert submitted(http, key, small()) == request_id  # -1 is the default
    picture = http.post(V1, json=small(), headers=header(key))
    assert picture.headers["x-request-id"] == request_id
    assert picture.headers["x-seed-value"] == result["seed"]
    assert picture.content == http.get(result["output"]).content
    assert submitted(http, key + "-other", small()) != request_id


@pytest.mark.parametrize("path", [V1, V2])
def test_another_body_is_409(http: httpx.Client, key: str, path: str) -> None:
    submitted(http, key, small())
    answer = http.post(path, json=small(steps=16), headers=header(key))
    assert answer.status_code == 409
    assert answer.json() == {"error": "Idempotency-Key: was used with another body"}


def test_a_map_is_made_once_and_is_no_picture(http: httpx.Client, key: str) -> None:
    first, again = (
        http.post(f"{V1}/preprocess", json=small(cn_type="canny"), headers=header(key))
        for _ in range(2)
    )
    assert first.headers["x-request-id"] == again.headers["x-request-id"]
    assert (first.status_code, first.content) == (200, again.content)
    assert http.post(V2, json=small(cn_type="canny"), headers=header(key)).status_code == 409


def test_a_file_is_part_of_the_body(http: httpx.Client, key: str) -> None:
    def post(data: bytes) -> httpx.Response:
        fields = {"prompt": "x", "cn_type": "canny"}
        return http.post(V2, data=fields, files={"image": data}, headers=header(key))

    first, again, other = post(b"one"), post(b"one"), post(b"two")
    assert first.json() == again.json()
    assert other.status_code == 409


def test_at_the_same_moment_it_is_one_request(http: httpx.Client, key: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: submitted(http, key, slow()), range(8)))
    assert len(set(ids)) == 1


def test_a_key_is_its_owners(http: httpx.Client, server: Server, key: str) -> None:
    stranger = a_key(server.redis_url)
    with Redis.from_url(server.redis_url) as redis:
        KeyStore(redis).add(stranger, "stranger")
    ours = submitted(http, key, small())
    assert submitted(http, key, small(), **{"x-api-key": stranger}) != ours


def test_a_refused_body_does_not_use_a_key(http: httpx.Client, key: str) -> None:
    assert http.post(V2, json=small(steps=1), headers=header(key)).status_code == 400
    submitted(http, key, small())


@pytest.mark.parametrize("bad", ["", "a b", "a" * 256, "\xe4"])
@pytest.mark.parametrize("path", [V1, V2])
def test_a_key_that_is_none_is_400(http: httpx.Client, path: str, bad: str) -> None:
    headers = [(b"idempotency-key", bad.encode("latin-1"))]
    answer = http.post(path, json=small(), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Idempotency-Key: ")
