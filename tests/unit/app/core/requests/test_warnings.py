"""Warnings in the record: what is stored, what another version may store, and their order."""

from __future__ import annotations

import json
from typing import cast

import pytest
from redis import Redis

from app.core.redis import keys
from app.core.requests.record import RequestRecord
from app.core.requests.store import RequestStore
from app.core.requests.warnings import (
    RequestWarning,
    WarningCode,
    by_importance,
    warning_bodies,
    warnings_from_json,
    warnings_to_json,
)
from tests.support.records import REQUEST_ID, completed, generated, queued

UNKNOWN = RequestWarning(WarningCode.UNKNOWN_PARAMETER, "größe", "ignored")
CUT = RequestWarning(WarningCode.PROMPT_CUT, "prompt", "CLIP read 77 of 90 tokens")


@pytest.fixture
def store(redis: Redis) -> RequestStore:
    return RequestStore(redis, ttl_s=60)


def kept(store: RequestStore) -> RequestRecord:
    record = store.get(REQUEST_ID)
    assert record is not None
    return record


def test_a_warning_is_stored_and_read() -> None:
    stored = warnings_to_json((UNKNOWN, CUT))
    assert stored.isascii()
    assert json.loads(stored) == warning_bodies((UNKNOWN, CUT))
    assert warnings_from_json(stored) == (UNKNOWN, CUT)


def test_warnings_of_another_version_are_read() -> None:
    stored = '[{"code": "later", "parameter": "p", "message": "m", "more": 1}, {"code": "bare"}]'
    assert warnings_from_json(stored) == (RequestWarning("later", "p", "m"), RequestWarning("bare"))


def test_unknown_parameters_come_last() -> None:
    other = RequestWarning(WarningCode.NOISY_PAIR)
    assert by_importance((UNKNOWN, other, UNKNOWN, CUT)) == (other, CUT, UNKNOWN, UNKNOWN)


def test_a_request_without_warnings_has_no_field_for_them(
    store: RequestStore, redis: Redis
) -> None:
    completed(store)
    fields = cast(list[bytes], redis.hkeys(keys.request(REQUEST_ID)))
    assert not [name for name in fields if b"warnings" in name]
    assert kept(store).warnings == ()


def test_the_warnings_of_the_submission_are_there_at_once(store: RequestStore) -> None:
    queued(store, warnings=(UNKNOWN,))
    assert kept(store).warnings == (UNKNOWN,)


def test_the_warnings_of_all_stages_are_one_list(store: RequestStore) -> None:
    completed(store, warnings=(UNKNOWN,), result=generated(generation_warnings=(CUT,)))
    assert kept(store).warnings == (CUT, UNKNOWN)
