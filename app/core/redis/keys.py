"""Every Redis key, channel and blob name of this server, each as one constant or function.

Lua scripts get the same names from here (`lua_declarations`), so no other file spells one. The
module that owns the contents of a key documents their format and expiry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from inspect import signature

# Requests.

UNFINISHED = "requests:unfinished"
"""Sorted set: ids of the requests that have not ended, by the time of their submission."""

OUTBOX = "requests:ended"
"""Hash: id -> the record as it ended, until history and webhooks have been notified."""

EVENTS_CHANNEL = "requests:news"
"""Channel: the id of a request whose event stream has grown."""

COMPLETIONS = "requests:pace"
"""List: when the last requests COMPLETED (Unix seconds), latest first."""


def request(request_id: str) -> str:
    """Hash: the record of a request."""
    return f"req:{request_id}"


def request_events(request_id: str) -> str:
    """Stream: the events of a request."""
    return f"req:{request_id}:events"


def idempotency_key(digest: str) -> str:
    """String: the request of an Idempotency-Key."""
    return f"idempotency:{digest}"


def sources(owner: str) -> str:
    """Hash: bytes of an owner's pictures that wait for preparation."""
    return f"sources:{owner}"


# Accounts.

API_KEYS = "keys"
"""Hash: SHA-256 of a secret -> its key as JSON."""

API_KEYS_USED = "keys:used"
"""Hash: id of a key -> when it was last used (Unix seconds), to the minute."""

BALANCES = "credits"
"""Hash: id of a key with a budget -> its balance, in billionths of a credit."""

SPENT = "spent"
"""Hash: id of a key -> the sum of what its requests cost, in billionths of a credit."""

RESERVATIONS = "reservations"
"""Hash: id of a request -> `amount key`."""

RESERVATION_EXPIRIES = "reservations:expiry"
"""Sorted set: ids of requests with a reservation, by the expiry of their records."""

RATE_LIMIT_PREFIX = "rpm"
"""Prefix of the keys of the rate limiter."""


def usage(day: int) -> str:
    """Hash: `KEY OWNER` -> what the requests that ended on this day used. day: since 1970, UTC."""
    return f"usage:{day}"


def usage_account(request_id: str) -> str:
    """String: `KEY OWNER` of a request that has not ended."""
    return f"usage:of:{request_id}"


def top_up(name: str) -> str:
    """String: marks a top-up as done, for an hour."""
    return f"topup:{name}"


# Queueing. Keys that begin with `rq:` are RQ's own.

HELD = "held"
"""Set: ids of the API keys with requests that their concurrency limit holds back."""

MEASURED = "measured"
"""Hash: average durations of requests."""


STARTING_WORKERS = "workers:starting"
"""Sorted set: the gpu workers that load their checkpoint, by their last heartbeat."""


def measured_requests(checkpoint: str, profile: str) -> str:
    """List: load, seconds and device of the last requests, latest first."""
    return f"measured:requests:{checkpoint}:{profile}"


def evaluation_seconds(checkpoint: str, profile: str) -> str:
    """String: the shortest recent time of a model evaluation."""
    return f"measured:evaluation:{checkpoint}:{profile}"


def queue(name: str) -> str:
    """List: the jobs that wait on a queue."""
    return f"rq:queue:{name}"


def job(job_id: str) -> str:
    """Hash: a job of RQ."""
    return f"rq:job:{job_id}"


def worker(name: str) -> str:
    """Hash: a worker of RQ."""
    return f"rq:worker:{name}"


FETCH_QUEUE = queue("fetch")
CPU_QUEUE = queue("cpu")


def turns(queue_key: str) -> str:
    """Sorted set: the waiting jobs of a queue by the start of their turn."""
    return f"turns:{queue_key}"


def turn_taken(queue_key: str) -> str:
    """String: the start of the turn that was taken last."""
    return f"turns:{queue_key}:taken"


def turn_ends(queue_key: str, key_id: str) -> str:
    """Sorted set: the jobs of an API key on a queue by the end of their turn."""
    return f"turns:{queue_key}:of:{key_id}"


def held(key_id: str) -> str:
    """List: the requests that the concurrency limit of an API key holds back, oldest first."""
    return f"held:{key_id}"


def in_flight(key_id: str) -> str:
    """Set: the requests of an API key that count against its concurrency limit."""
    return f"flight:{key_id}"


# Life cycle.

MAINTENANCE_LOCK = "housekeeping"
PRUNE_LOCK = "housekeeping:history"
BLOB_SWEEP_LOCK = "housekeeping:sweep"


def background_job(name: str) -> str:
    """String: a background job is queued and has not started."""
    return f"chore:{name}"


# Webhooks.

DELIVERIES_DUE = "webhooks:due"
"""Sorted set: request ids of pending deliveries, by the time of the next attempt."""

WEBHOOK_SECRETS = "webhook:secrets"
"""Hash: owner -> the secrets that sign, as JSON."""


def delivery(request_id: str) -> str:
    """Hash: the webhook of a request."""
    return f"webhook:{request_id}"


def delivery_attempts(request_id: str) -> str:
    """List: the attempts to send it."""
    return f"webhook:{request_id}:attempts"


# History.


def history_row(request_id: str, output: int) -> str:
    """Hash: one picture of a finished request."""
    return f"history:row:{request_id}:{output}"


def history_of(owner: str) -> str:
    """Sorted set: the rows of an owner by the time of their submission."""
    return f"history:of:{owner}"


# Telemetry and secrets.

COUNTERS = "metrics"
"""Hash: field -> number, see app.core.telemetry.counters."""

LINK_SIGNING_KEY = "secret:links"
RECEIPT_SIGNING_KEY = "secret:receipts"

# Storage.

OUTPUT_EXPIRIES = "outputs:expiry"
"""Sorted set: ids of the requests whose finished files are stored, by the expiry of the files."""

OUTPUT_RECORD_EXPIRIES = "outputs:records"
"""Sorted set: the same requests by the expiry of their records."""

OUTPUT_BYTES = "outputs:bytes"
"""Hash: the same requests -> the bytes of their files; `total` is the sum."""


def blob(name: str) -> str:
    """String: a blob, where blobs are stored in Redis."""
    return f"blob:{name}"


def s3_index(bucket: str, prefix: str) -> str:
    """Sorted set: the objects of a bucket by expiry."""
    return f"blobs:s3:{bucket}/{prefix}"


def upload_expiries(owner: str) -> str:
    """Sorted set: an owner's uploads by expiry."""
    return f"uploads:{owner}:expiry"


def upload_sizes(owner: str) -> str:
    """Hash: an owner's uploads -> bytes; `total` is the sum."""
    return f"uploads:{owner}:sizes"


# Names of blobs.

BLOB_NAME = re.compile(r"([0-9a-f]{32}|upload|doctor):[A-Za-z0-9:._-]{1,160}")
"""Every name of a blob: a folder of blobs may have files of other programs, which stay."""


def source_blob(request_id: str, source: int = 0) -> str:
    """A picture file that came with a request, by the index of its source."""
    return _indexed(f"{request_id}:source", source)


def control_blob(request_id: str, control: int = 0) -> str:
    """RGB bytes of a control picture at the generated size, by the index of its control."""
    return _indexed(f"{request_id}:control", control)


def map_blob(request_id: str, control: int = 0) -> str:
    """RGB bytes of a control map at the generated size, by the index of its control."""
    return _indexed(f"{request_id}:map", control)


def map_name(control: int = 0) -> str:
    """The name of the file of a control map, without its suffix and in output_blob."""
    return f"map-{control}" if control else "map"


def pixels_blob(request_id: str, index: int) -> str:
    """RGB bytes of a generated picture."""
    return f"{request_id}:pixels:{index}"


def output_blob(request_id: str, name: str | int) -> str:
    """A finished file: a picture by its index, or a control map by map_name."""
    return f"{request_id}:output:{name}"


def answers_blob(request_id: str, execution: str, chunk: int) -> str:
    """Part of the evaluation log of an unfinished picture."""
    return f"{request_id}:answers:{execution}:{chunk}"


def upload_blob(sha256: str) -> str:
    """An uploaded picture file."""
    return f"upload:{sha256}"


def _indexed(name: str, index: int) -> str:
    """The first blob of its kind has no index: older versions have one of each kind."""
    return f"{name}:{index}" if index else name


_LUA_CONSTANTS = {
    name: globals()[name]
    for name in (
        *("UNFINISHED", "OUTBOX", "EVENTS_CHANNEL", "COMPLETIONS"),
        *("BALANCES", "SPENT", "RESERVATIONS", "RESERVATION_EXPIRIES"),
        *("HELD", "FETCH_QUEUE", "CPU_QUEUE"),
        *("OUTPUT_EXPIRIES", "OUTPUT_RECORD_EXPIRIES", "OUTPUT_BYTES"),
    )
}
_LUA_FUNCTIONS: tuple[Callable[..., str], ...] = (
    *(request, sources, usage, usage_account, top_up, job, delivery),
    *(turns, turn_taken, turn_ends, held, in_flight),
)


def lua_declarations() -> Mapping[str, str]:
    """Name in Lua -> its declaration. A function NAME is called NAME_key there."""
    constants = {name: f"local {name} = '{key}'" for name, key in _LUA_CONSTANTS.items()}
    functions = {f"{key.__name__}_key": _lua_function(key) for key in _LUA_FUNCTIONS}
    return {**constants, **functions}


def _lua_function(key: Callable[..., str]) -> str:
    arguments = list(signature(key).parameters)
    text = key(*(f"' .. {argument} .. '" for argument in arguments))
    expression = f"'{text}'".removesuffix(" .. ''")
    return f"local function {key.__name__}_key({', '.join(arguments)}) return {expression} end"
