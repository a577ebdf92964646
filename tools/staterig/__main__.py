"""Records the state of a server of this version with in-flight work of every kind.

The state is in Redis, in the folder of pictures and in the database. The next version must continue
from it, which tests/compatibility checks.

Usage: scripts/record_state OUT
Runs real processes and the demo model. A request waits in a queue because the tool has stopped the
workers of that queue; one worker is dead because the tool has killed it.
"""

from __future__ import annotations

import argparse
import base64
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from redis import Redis

from app import VERSION
from app.core.accounts.api_keys import KeyStore, Terms, mint
from app.core.queueing.jobs import CPU, FETCH, FINISH, GPU, QUEUES, WEBHOOKS
from app.core.redis.connection import connect
from app.core.requests.store import RequestStore
from tests.support.pictures import PictureHost, picture_host
from tests.support.receivers import Receiver, receiver
from tests.support.recorded_state import record_state
from tests.support.servers import running_api, running_redis
from tests.support.waiting import until
from tools.staterig.client import Client, grey, tiny
from tools.staterig.workers import WAIT_S, Workers, running_workers

LIFE_S = 9 * 365 * 86_400
"""How long everything lives that has an end, and so for how long a recording is of use."""

PUBLIC_URL = "https://pictures.example.com"
CREDITS = 1000.0
SETTINGS = {
    "REQUEST_TTL_S": str(LIFE_S),
    "UPLOAD_TTL_S": str(LIFE_S),
    "HISTORY_DAYS": "3650",
    "FETCH_ALLOW_HOSTS": "127.0.0.1",
    "CHECKPOINT": "demo",
    "PUBLIC_URL": PUBLIC_URL,
    "OMP_NUM_THREADS": "1",
}


def with_the_default_stores(redis: Redis, redis_url: str, key: str) -> dict[str, Any]:
    """A request whose picture and history are in Redis itself."""
    with (
        running_workers(redis, {**SETTINGS, "REDIS_URL": redis_url}) as workers,
        running_api(redis_url, ready=False, port=None, **SETTINGS) as url,
    ):
        workers.start(CPU, GPU, FINISH)
        client = Client(url, key, redis)
        client.finish("in redis", client.submit(tiny()))
        return client.ended


def with_a_folder_and_sqlite(
    redis: Redis, redis_url: str, folder: Path, keys: dict[str, str]
) -> dict[str, Any]:
    """Everything else, and what to know of it."""
    stores = {"BLOB_URL": f"file://{folder}/blobs", "DATABASE_URL": f"sqlite:///{folder}/history"}
    settings = {**SETTINGS, **stores}
    with (
        picture_host() as host,
        receiver() as listening,
        running_workers(redis, {**settings, "REDIS_URL": redis_url}) as workers,
        running_api(redis_url, ready=False, port=None, **settings) as url,
    ):
        client = Client(url, keys["budget"], redis)
        bounded = Client(url, keys["one at a time"], redis)
        idempotent = end_some(client, workers, listening)
        finish = tiny(webhook_url=listening.url)
        workers.stop(FINISH)
        stand(workers, FINISH, client.leave("finish", finish))
        leave_on_the_gpu(client, workers, RequestStore(redis, LIFE_S))
        leave_unprepared(client, bounded, workers, host)
        until(lambda: all(map(workers.jobs.waiting, QUEUES)), "a job in every queue", WAIT_S)
        return {
            "idempotent": idempotent,
            "waiting": {**client.waiting, **bounded.waiting},
            "ended": client.ended,
            "webhook_secret": client.http.get("/v2/webhooks/secret").json()["secret"],
            "hosts": {"pictures": host.origin, "receiver": listening.url.removesuffix("/hook")},
        }


def end_some(client: Client, workers: Workers, listening: Receiver) -> dict[str, Any]:
    """Requests that have ended in each way; says which has an idempotency key."""
    workers.start(FETCH, CPU, GPU, FINISH, WEBHOOKS)
    body, key = tiny(samples=2, cn_type="depth", image_format="png"), "recorded"
    request_id = client.submit(body, **{"idempotency-key": key})
    client.finish("completed", request_id)
    client.finish("failed", client.submit(tiny(image=base64.b64encode(b"no picture").decode())))
    listening.statuses = [500]
    refused = client.submit(tiny(webhook_url=listening.url))
    listening.next(WAIT_S)

    def status_codes() -> list[Any]:
        log = client.http.get(f"/v2/requests/{refused}/webhook").json()
        return [attempt["status_code"] for attempt in log["attempts"]]

    until(lambda: status_codes() == [500], "the attempt to be written down", WAIT_S)
    workers.stop(WEBHOOKS)
    client.finish("completed, its webhook refused once", refused)
    client.finish("completed, its webhook due", client.submit(tiny(webhook_url=listening.url)))
    return {"key": key, "body": body, "request_id": request_id}


def _has_saved_work(store: RequestStore, request_id: str) -> bool:
    record = store.get(request_id)
    return record is not None and bool(record.saved_work.chunks)


def leave_on_the_gpu(client: Client, workers: Workers, store: RequestStore) -> None:
    """One whose worker is dead and has kept some of its work, one that waits, a cancelled one."""
    workers.stop(GPU)
    workers.start(GPU, RESUME_EVERY_S="0.02")
    dead = client.leave("gpu, its worker dead", tiny(steps=75, samples=4))
    until(lambda: _has_saved_work(store, dead), "work to be kept", WAIT_S)
    workers.stop(GPU, signum=signal.SIGKILL)
    stand(workers, GPU, client.leave("gpu", tiny(cn_type="pose")))
    cancelled = client.submit(tiny())
    stand(workers, GPU, cancelled)
    client.http.delete(f"/v2/requests/{cancelled}").raise_for_status()
    client.keep("cancelled", cancelled)


def leave_unprepared(client: Client, bounded: Client, workers: Workers, host: PictureHost) -> None:
    workers.stop(CPU)
    uploaded = client.http.post(
        "/upload-asset", json={"data_urls": [f"data:image/png;base64,{grey((80, 64))}"]}
    )
    [link] = uploaded.raise_for_status().json()["file_urls"]
    stand(workers, CPU, client.leave("cpu, its picture uploaded", tiny(image=link)))
    stand(workers, CPU, bounded.leave("cpu", tiny()))
    bounded.leave("held until its key has room", tiny())
    workers.stop(FETCH)
    url = host.serve("/picture.png", base64.b64decode(grey((72, 64))))
    stand(workers, FETCH, client.leave("fetch", tiny(image=url)))


def stand(workers: Workers, queue: str, request_id: str) -> None:
    """Wait until a job of the request stands in the queue, whose workers have been stopped."""
    jobs = workers.jobs.queue(queue)
    until(lambda: any(job.startswith(request_id) for job in jobs.get_job_ids()), queue, WAIT_S)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/record_state", description=__doc__)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out.resolve()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_url = stack.enter_context(running_redis(folder / "data"))
        redis = stack.enter_context(connect(redis_url))
        store, keys = KeyStore(redis), {"installation": mint()}
        store.add(keys["installation"], "default")
        keys["budget"], _ = store.create("budget", Terms(credits=CREDITS))
        keys["one at a time"], _ = store.create("one at a time", Terms(concurrency=1))
        in_redis = with_the_default_stores(redis, redis_url, keys["installation"])
        notes = with_a_folder_and_sqlite(redis, redis_url, folder, keys)
        notes |= {"version": VERSION, "recorded_at": time.time(), "public_url": PUBLIC_URL}
        notes |= {"keys": keys, "credits": CREDITS, "in_redis": in_redis}
        state = record_state(notes, redis, folder / "blobs", folder / "history")
        state.save(out)
    size = out.stat().st_size
    print(f"{out}: {len(state.redis)} keys, {len(state.blobs)} pictures, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
