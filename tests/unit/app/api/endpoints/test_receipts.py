"""The receipt of a request over HTTP: available once a picture exists, and signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from app.api.deps import Services
from app.core.errors import GenerationFailed
from app.core.receipts import receipt_of
from app.core.requests.stage_results import MapResult
from app.core.requests.store import RequestStore
from tests.support.records import (
    CONTROL_MAP,
    PARAMS,
    REQUEST_ID,
    begun,
    completed,
    failed,
    output,
    queued,
)

PATH = f"/v2/requests/{REQUEST_ID}/receipt"
MISSING = {"error": f"Request {REQUEST_ID} has no receipt; only a COMPLETED picture has one"}


@pytest.mark.parametrize("with_map", [False, True])
def test_a_completed_picture_has_a_signed_receipt(
    api: TestClient, inside: Services, with_map: bool
) -> None:
    completed(inside.requests, control_map=CONTROL_MAP if with_map else None)
    answer = api.get(PATH)
    assert answer.status_code == 200
    receipt, signature = answer.json()["receipt"], answer.json()["signature"]
    assert answer.json() == {"receipt": receipt, "signature": signature}
    assert signature == {"algorithm": "HMAC-SHA256", "value": inside.receipts.sign(receipt)}
    record = inside.requests.get(REQUEST_ID)
    assert record is not None
    link = None
    if with_map:
        link = receipt["control_map"]["url"]
        assert link.startswith(f"http://localhost:8000/files/{REQUEST_ID}/map.png?exp=")
        path, _, query = link.removeprefix("http://localhost:8000").partition("?exp=")
        expires_at, _, sig = query.partition("&sig=")
        assert inside.links.valid(path, expires_at, sig)
    assert receipt == receipt_of(record, [link] if link else [])


@pytest.mark.parametrize("reached", [queued, begun])
def test_a_request_that_has_not_ended_has_none(
    api: TestClient, inside: Services, reached: Callable[[RequestStore], str]
) -> None:
    reached(inside.requests)
    answer = api.get(PATH)
    assert (answer.status_code, answer.json()) == (404, MISSING)


def test_a_request_that_failed_has_none(api: TestClient, inside: Services) -> None:
    failed(inside.requests, GenerationFailed())
    answer = api.get(PATH)
    assert (answer.status_code, answer.json()) == (404, MISSING)


def test_a_control_map_alone_has_none(api: TestClient, inside: Services) -> None:
    only_map = replace(PARAMS, only_map=True)
    completed(inside.requests, params=only_map, outputs=[output()], result=MapResult(1.0))
    answer = api.get(PATH)
    assert (answer.status_code, answer.json()) == (404, MISSING)


def test_the_receipt_of_another_is_not_found(api: TestClient, inside: Services) -> None:
    completed(inside.requests, owner="team-b")
    answer = api.get(PATH)
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": f"Request {REQUEST_ID} not found"},
    )
    assert api.get(PATH, headers={"x-api-key": ""}).status_code == 401
