"""The content filter over HTTP: a real finish worker that has loaded a classifier.

The test stands for the gpu worker, so that it can choose the picture.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image
from redis import Redis

from app.core.errors import ContentWithheld
from app.core.queueing.jobs import CPU, FINISH, GPU, Jobs
from app.core.redis import keys
from app.core.redis.connection import connect
from app.core.requests.record import Stage
from app.core.requests.store import RequestStore
from app.core.storage.redis import RedisBlobs
from models.geometry import generated_size
from tests.support import classifiers
from tests.support.bodies import small
from tests.support.records import generated
from tests.support.servers import ROOT, Server, a_key, environment, running_api, running_redis
from tests.support.waiting import until
from tests.support.wire import V1, V2, wait_for_end

SENTENCE = ContentWithheld.sentence


@pytest.fixture(scope="module")
def filtering_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with a cpu worker, and a finish worker that withholds what is white."""
    model = classifiers.build(tmp_path_factory.mktemp("classifier"))
    with running_redis(tmp_path_factory.mktemp("filtering")) as redis_url:
        settings = environment(REDIS_URL=redis_url, CONTENT_FILTER=str(model))
        command = [sys.executable, "-m", "app.cli", "worker"]
        workers = [
            subprocess.Popen([*command, kind], cwd=ROOT, env=settings) for kind in (CPU, FINISH)
        ]
        yield redis_url
        for worker in workers:
            worker.terminate()
        assert [worker.wait(60) for worker in workers] == [0, 0]


@pytest.fixture(scope="module")
def filtering(filtering_redis: str) -> Iterator[httpx.Client]:
    headers = {"x-api-key": a_key(filtering_redis)}
    with (
        running_api(filtering_redis, ready=False) as url,
        httpx.Client(base_url=url, headers=headers, timeout=120) as http,
    ):
        yield http


def play_gpu(redis: Redis, *colours: str) -> str:
    """Make the next request's pictures plain; its id."""
    jobs, store, blobs = Jobs(redis, 3600), RequestStore(redis, 3600), RedisBlobs(redis)
    deadline = time.monotonic() + 120
    while (request_id := jobs.next_generation()) is None:
        assert time.monotonic() < deadline, "prepare did not hand on"
        time.sleep(0.02)
    jobs.queue(GPU).empty()
    store.claim(request_id, Stage.GENERATE, "test")
    record = store.get(request_id)
    assert record is not None
    assert record.width is not None
    assert record.height is not None
    size = generated_size((record.width, record.height))
    for index, colour in enumerate(colours):
        pixels = Image.new("RGB", size, colour).tobytes()
        blobs.put(keys.pixels_blob(request_id, index), pixels, record.expires_at)
    store.advance(request_id, Stage.GENERATE, "test", generated(inference_s=1.0, evaluations=15))
    jobs.enqueue(request_id, Stage.FINISH)
    return request_id


@pytest.mark.parametrize(
    ("colours", "withheld"),
    [(["black"], False), (["white"], True), (["black", "white"], True)],
    ids=["passes", "withheld", "withheld whole"],
)
def test_a_picture_beyond_the_threshold_is_withheld(
    filtering: httpx.Client, filtering_redis: str, colours: list[str], withheld: bool
) -> None:
    """FAILED with the policy's sentence, and not a byte of it is kept."""
    submitted = filtering.post(V2, json=small(cn_type="tile", samples=len(colours))).json()
    with connect(filtering_redis) as redis:
        assert play_gpu(redis, *colours) == submitted["request_id"]
        ended = wait_for_end(filtering, submitted["response_url"])
        if withheld:  # what there is of it is dropped right after the end
            until(lambda: not redis.keys(f"blob:{submitted['request_id']}:*"), "nothing kept")
    if withheld:
        assert (ended.status_code, ended.json()["status"]) == (422, "FAILED")
        assert ended.json()["error"] == SENTENCE
    else:
        assert ended.status_code == 200
        assert filtering.get(ended.json()["output"]).status_code == 200


def test_v1_says_the_same(filtering: httpx.Client, filtering_redis: str) -> None:
    with ThreadPoolExecutor(1) as pool, connect(filtering_redis) as redis:
        waiting = pool.submit(filtering.post, V1, json=small(cn_type="tile"))
        play_gpu(redis, "white")
        answer = waiting.result()
    assert (answer.status_code, answer.json()) == (400, {"error": SENTENCE})


def test_a_map_alone_is_not_judged(filtering: httpx.Client) -> None:
    answer = filtering.post(f"{V1}/preprocess", json=small(cn_type="tile"))
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", [b"fetch", b"cpu", b"finish"])
def test_without_a_filter_only_gpu_workers_hold_torch(server: Server, kind: bytes) -> None:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    workers = [Path(f"/proc/{child}") for child in children.read_text().split()]
    of_kind = [one for one in workers if b"worker\0" + kind in (one / "cmdline").read_bytes()]
    assert of_kind
    for worker in of_kind:
        assert "libtorch" not in (worker / "maps").read_text()
