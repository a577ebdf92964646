"""A stub worker that ends the requests of the cpu queue as the test says, without pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from app.core.queueing.jobs import CPU, Jobs
from app.core.redis import keys
from app.core.redis.connection import connect
from app.core.requests.store import RequestStore
from app.core.storage.redis import RedisBlobs
from tests.support.records import begin, finish, output

End = Callable[[RequestStore, str], object]
"""(the store, the id of a request that waits) -> it has ended."""


@contextmanager
def ending(redis_url: str) -> Iterator[list[End]]:
    """How the next requests end, in their order."""
    endings: list[End] = []
    client = connect(redis_url)
    store, key = RequestStore(client, ttl_s=60), Jobs(client, ttl_s=60).queue(CPU).key

    def work() -> None:
        while (taken := client.blpop([key], timeout=30)) is not None:
            _, job = cast(tuple[bytes, bytes], taken)
            request_id = job.decode().partition("-")[0]
            if request_id == "stop":
                return
            endings.pop(0)(store, request_id)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield endings
    finally:
        client.rpush(key, "stop-")
        thread.join()
        client.close()


def made(*files: bytes, kind: str = "jpeg") -> End:
    """COMPLETED with these pictures, for 5.5 credits."""

    def end(store: RequestStore, request_id: str) -> None:
        record = store.get(request_id)
        assert record is not None
        blobs = RedisBlobs(store._redis)
        for number, data in enumerate(files):
            blobs.put(keys.output_blob(request_id, number), data, record.expires_at)
        outputs = [
            output(number, file_name=f"{number}.{kind}", content_type=f"image/{kind}")
            for number in range(len(files))
        ]
        begin(store, request_id)
        store.charge(request_id, "e", 5_500_000_000)
        finish(store, request_id, outputs)

    return end
