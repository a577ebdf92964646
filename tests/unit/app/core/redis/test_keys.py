"""The names in Redis. Stored data outlives a version, so a name that changes loses it."""

from __future__ import annotations

import inspect

import pytest

from app.core.redis import keys

CONSTANTS = {
    "UNFINISHED": "requests:unfinished",
    "OUTBOX": "requests:ended",
    "EVENTS_CHANNEL": "requests:news",
    "COMPLETIONS": "requests:pace",
    "API_KEYS": "keys",
    "API_KEYS_USED": "keys:used",
    "BALANCES": "credits",
    "SPENT": "spent",
    "RESERVATIONS": "reservations",
    "RESERVATION_EXPIRIES": "reservations:expiry",
    "RATE_LIMIT_PREFIX": "rpm",
    "HELD": "held",
    "MEASURED": "measured",
    "STARTING_WORKERS": "workers:starting",
    "FETCH_QUEUE": "rq:queue:fetch",
    "CPU_QUEUE": "rq:queue:cpu",
    "MAINTENANCE_LOCK": "housekeeping",
    "PRUNE_LOCK": "housekeeping:history",
    "BLOB_SWEEP_LOCK": "housekeeping:sweep",
    "DELIVERIES_DUE": "webhooks:due",
    "WEBHOOK_SECRETS": "webhook:secrets",
    "COUNTERS": "metrics",
    "LINK_SIGNING_KEY": "secret:links",
    "RECEIPT_SIGNING_KEY": "secret:receipts",
    "OUTPUT_EXPIRIES": "outputs:expiry",
    "OUTPUT_RECORD_EXPIRIES": "outputs:records",
    "OUTPUT_BYTES": "outputs:bytes",
}
FUNCTIONS = {
    "request": "req:a",
    "request_events": "req:a:events",
    "idempotency_key": "idempotency:a",
    "sources": "sources:a",
    "usage": "usage:a",
    "usage_account": "usage:of:a",
    "top_up": "topup:a",
    "measured_requests": "measured:requests:a:b",
    "evaluation_seconds": "measured:evaluation:a:b",
    "queue": "rq:queue:a",
    "job": "rq:job:a",
    "worker": "rq:worker:a",
    "turns": "turns:a",
    "turn_taken": "turns:a:taken",
    "turn_ends": "turns:a:of:b",
    "held": "held:a",
    "in_flight": "flight:a",
    "background_job": "chore:a",
    "delivery": "webhook:a",
    "delivery_attempts": "webhook:a:attempts",
    "history_row": "history:row:a:b",
    "history_of": "history:of:a",
    "blob": "blob:a",
    "s3_index": "blobs:s3:a/b",
    "upload_expiries": "uploads:a:expiry",
    "upload_sizes": "uploads:a:sizes",
    "source_blob": "a:source:b",
    "control_blob": "a:control:b",
    "map_blob": "a:map:b",
    "map_name": "map-a",
    "pixels_blob": "a:pixels:b",
    "output_blob": "a:output:b",
    "answers_blob": "a:answers:b:c",
    "upload_blob": "upload:a",
}


def test_every_constant_has_its_name() -> None:
    names = {
        name: value for name, value in vars(keys).items() if name.isupper() and name != "BLOB_NAME"
    }
    public = {name: value for name, value in names.items() if not name.startswith("_")}
    assert public == CONSTANTS


def test_every_function_of_the_module_is_tested() -> None:
    own = inspect.getmembers(keys, inspect.isfunction)
    named = {name for name, value in own if value.__module__ == keys.__name__}
    assert {name for name in named if name[0] != "_"} == {*FUNCTIONS, "lua_declarations"}


@pytest.mark.parametrize(("name", "key"), FUNCTIONS.items())
def test_a_key_has_its_form(name: str, key: str) -> None:
    function = getattr(keys, name)
    assert function(*"abc"[: len(inspect.signature(function).parameters)]) == key


def test_lua_gets_the_same_names() -> None:
    declared = keys.lua_declarations()
    assert declared["HELD"] == "local HELD = 'held'"
    assert declared["request_key"] == (
        "local function request_key(request_id) return 'req:' .. request_id end"
    )
    assert declared["turn_ends_key"] == (
        "local function turn_ends_key(queue_key, key_id) "
        "return 'turns:' .. queue_key .. ':of:' .. key_id end"
    )
    assert declared["turn_taken_key"] == (
        "local function turn_taken_key(queue_key) return 'turns:' .. queue_key .. ':taken' end"
    )


@pytest.mark.parametrize(
    "name",
    [
        *(keys.source_blob("0a" * 16), keys.source_blob("0a" * 16, 1)),
        *(keys.control_blob("0a" * 16), keys.map_blob("0a" * 16, 2)),
        *(keys.pixels_blob("0a" * 16, 3), keys.output_blob("0a" * 16, 0)),
        keys.output_blob("0a" * 16, keys.map_name(1)),
        keys.answers_blob("0a" * 16, "f" * 32, 1234),
        *(keys.upload_blob("0a" * 32), f"doctor:{'0a' * 16}"),
    ],
)
def test_every_blob_has_a_name_that_a_sweep_knows(name: str) -> None:
    assert keys.BLOB_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    ["", "notes.txt", "a1:output:0", "A" * 32 + ":x", "0a" * 16, "0a" * 16 + ":", "xupload:a"],
)
def test_a_file_of_another_program_has_none(name: str) -> None:
    assert not keys.BLOB_NAME.fullmatch(name)
