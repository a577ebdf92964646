"""The real client and its jobs (v2): submit, poll, result, failure, expiry, load, restart.

Numbers in the names are those of the acceptance scenarios.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from redis import Redis
from segmind import SegmindClient
from segmind.exceptions import SegmindError
from segmind.v2 import AsyncJob, InferenceFailed, InferenceTimeout

from app.core.accounts.api_keys import Key, KeyStore, mint
from app.core.requests.store import RequestStore
from tests.contract.conftest import Connect
from tests.support.bodies import page, slow, small
from tests.support.pictures import astronaut, opened
from tests.support.servers import Server, free_port, running_api
from tests.support.waiting import until
from tests.support.wire import ORDER, TERMINAL, Wire, wait_for_end

MODEL = "flux-controlnet"
MADE_UP = "0123456789abcdef0123456789abcdef"
UNFINISHED = ("QUEUED", "PROCESSING")


@pytest.fixture
def second_key(server: Server) -> Iterator[tuple[str, Key, KeyStore]]:
    """(secret, key, store) of somebody else, revoked after the test."""
    with Redis.from_url(server.redis_url) as redis:
        store = KeyStore(redis)
        secret = mint()
        key = store.add(secret, "somebody-else")
        yield secret, key, store
        store.revoke(key.id)


def job_of(client: SegmindClient, request_id: str) -> AsyncJob:
    origin = client.base_url.removesuffix("/v1")
    return AsyncJob(
        request_id=request_id,
        status_url=f"{origin}/v2/requests/{request_id}/status",
        response_url=f"{origin}/v2/requests/{request_id}",
        submit_response={},
        _client=client,
    )


def statuses_until_end(job: AsyncJob) -> list[dict[str, Any]]:
    seen = [job.status()]
    deadline = time.monotonic() + 200
    while seen[-1]["status"] not in TERMINAL:
        assert time.monotonic() < deadline, seen[-1]
        time.sleep(0.01)
        seen.append(job.status())
    return seen


def wait_until_processing(job: AsyncJob) -> None:
    until(lambda: job.status()["status"] == "PROCESSING", "the job to begin", 200)


def test_01_run_gives_a_completed_dict(client: SegmindClient, wire: Wire) -> None:
    """`c.run(slug, **page payload)`: COMPLETED, an http output, a number of seconds; one POST,
    status GETs, one result GET."""
    result = client.run(MODEL, **page("pose", astronaut((192, 192))))
    assert result["status"] == "COMPLETED"
    assert result["output"].startswith("http")
    assert isinstance(result["metrics"]["inference_time"], float)
    submit, *polls, last = wire.lines
    assert submit == "POST /v2/flux-controlnet"
    assert last == f"GET /v2/requests/{result['request_id']}"
    assert polls
    assert set(polls) == {f"GET /v2/requests/{result['request_id']}/status"}


def test_01_result_has_the_documented_fields(client: SegmindClient, http: httpx.Client) -> None:
    """`error: null`, output, images[], seed as a string, prompt, timings, metrics."""
    result = client.submit_async(MODEL, **small(seed=11)).wait(interval=0.05)
    assert result["error"] is None
    assert (result["seed"], result["prompt"]) == ("11", "an astronaut")
    assert isinstance(result["timings"], dict)
    metrics = result["metrics"]
    assert 0 < metrics["inference_time"] < metrics["total_time"]
    assert 0 < metrics["queue_time"] < metrics["total_time"]
    assert metrics["cost"] >= 0
    [image] = result["images"]
    assert image["url"] == result["output"]
    file = http.get(image["url"], headers={"x-api-key": ""})
    assert file.headers["content-type"] == image["content_type"] == "image/jpeg"
    assert image["file_name"].endswith(".jpeg")
    assert int(image["file_size"]) == len(file.content)
    assert opened(file.content).size == (128, 128)


def test_02_submit_gives_absolute_urls(client: SegmindClient, server: Server) -> None:
    """`submit_async`: id, absolute status_url and response_url, QUEUED, poll_url: five keys."""
    job = client.submit_async(MODEL, **small())
    assert job.status_url == f"{server.url}/v2/requests/{job.request_id}/status"
    assert job.response_url == f"{server.url}/v2/requests/{job.request_id}"
    assert job.submit_response == {
        "request_id": job.request_id,
        "status": "QUEUED",
        "poll_url": f"{server.url}/v1/requests/{job.request_id}",
        "status_url": job.status_url,
        "response_url": job.response_url,
    }
    assert len(job.request_id) == 32
    assert int(job.request_id, 16) >= 0
    job.wait(interval=0.05)


def test_02_poll_url_speaks_the_older_protocol(client: SegmindClient, http: httpx.Client) -> None:
    """GET /v1/requests/{id}: `status` and `output`, the output being the result's."""
    job = client.submit_async(MODEL, **slow())
    early = http.get(job.submit_response["poll_url"])
    assert early.status_code == 200
    assert early.json()["status"] in UNFINISHED
    result = job.wait(interval=0.05)
    late = http.get(job.submit_response["poll_url"])
    assert (late.json()["status"], late.json()["output"]) == ("COMPLETED", result["output"])


def test_03_states_never_go_back(client: SegmindClient) -> None:
    """`status()` right after submit is QUEUED or PROCESSING; states and steps only grow."""
    seen = statuses_until_end(client.submit_async(MODEL, **slow()))
    states = [body["status"] for body in seen]
    assert states[0] in UNFINISHED
    assert states[-1] == "COMPLETED"
    assert states == sorted(states, key=ORDER.index)
    progress = [body["progress"] for body in seen if body["status"] == "PROCESSING"]
    steps = [step["step"] for step in progress]
    assert steps == sorted(steps)
    assert len(set(steps)) > 1
    assert all(step["step"] <= step["steps"] for step in progress)


def test_03_status_bodies_carry_no_output(client: SegmindClient) -> None:
    """Status: id and URLs while it runs, metrics always, the picture never."""
    job = client.submit_async(MODEL, **slow())
    seen = statuses_until_end(job)
    first, last = seen[0], seen[-1]
    assert (first["status_url"], first["response_url"]) == (job.status_url, job.response_url)
    assert {first["request_id"], last["request_id"]} == {job.request_id}
    assert last["metrics"]["inference_time"] > 0
    assert "output" not in last
    assert "images" not in last


def test_04_result_before_the_end_is_the_status(client: SegmindClient, wire: Wire) -> None:
    """`result()` before completion: 200 with a status that is not terminal, no exception."""
    job = client.submit_async(MODEL, **slow())
    early = job.result()
    assert wire.answers[-1].status_code == 200
    assert early["status"] in UNFINISHED
    assert early["request_id"] == job.request_id
    assert job.wait(interval=0.05)["status"] == "COMPLETED"


def test_05_wait_gives_up_and_can_be_repeated(client: SegmindClient) -> None:
    """`wait(timeout=0.05)`: InferenceTimeout; afterwards `wait(600)` still delivers."""
    job = client.submit_async(MODEL, **slow())
    with pytest.raises(InferenceTimeout) as given_up:
        job.wait(timeout=0.05, interval=0.01)
    assert given_up.value.request_id == job.request_id
    assert given_up.value.elapsed_s >= 0.05
    assert given_up.value.status is None
    assert job.wait(600, interval=0.05)["status"] == "COMPLETED"


def test_06_unreachable_image_fails_the_job(client: SegmindClient, wire: Wire) -> None:
    """An image that no host serves: accepted, then InferenceFailed with a reason, HTTP 422, and no
    GET of the result."""
    job = client.submit_async(MODEL, **small(image=f"http://127.0.0.1:{free_port()}/x.png"))
    with pytest.raises(InferenceFailed) as failed:
        job.wait(interval=0.02)
    assert failed.value.detail.startswith("image: ")
    assert failed.value.status is None
    body = failed.value.status_body
    assert (body["status"], body["request_id"]) == ("FAILED", job.request_id)
    assert {"inference_time", "queue_time"} <= body["metrics"].keys()
    assert wire.answers[0].status_code == 200
    assert wire.answers[-1].status_code == 422
    assert f"GET /v2/requests/{job.request_id}" not in wire.lines


def test_07_result_of_a_failed_job_is_its_status(client: SegmindClient, wire: Wire) -> None:
    """`result()` of a FAILED job: the same dict, under HTTP 422."""
    job = client.submit_async(MODEL, **small(image=f"http://127.0.0.1:{free_port()}/x.png"))
    last = statuses_until_end(job)[-1]
    assert last["status"] == "FAILED"
    assert job.result() == last
    assert wire.answers[-1].status_code == 422


def test_14_key_switched_off_while_polling(
    connect: Connect, server: Server, wire: Wire, second_key: tuple[str, Key, KeyStore]
) -> None:
    """`wait` raises SegmindError 401, not InferenceFailed."""
    secret, key, store = second_key
    job = connect(f"{server.url}/v1", secret).submit_async(MODEL, **slow(4))
    wait_until_processing(job)
    polls = len(wire.answers)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(job.wait, 60, 0.02)
        while len(wire.answers) == polls:
            assert not waiting.done()
            time.sleep(0.005)
        assert store.revoke(key.id)
        with pytest.raises(SegmindError) as refused:
            waiting.result()
    assert not isinstance(refused.value, InferenceFailed | InferenceTimeout)
    assert refused.value.status == 401
    assert refused.value.detail.startswith("Unauthorized. API key is invalid")


@pytest.mark.parametrize("ask", [AsyncJob.status, AsyncJob.result, AsyncJob.wait])
def test_15_unknown_id_is_404(client: SegmindClient, ask: Callable[[AsyncJob], Any]) -> None:
    """A made-up id: SegmindError 404 whose text names it."""
    with pytest.raises(SegmindError) as missing:
        ask(job_of(client, MADE_UP))
    assert missing.value.status == 404
    assert missing.value.detail == f"Request {MADE_UP} not found"


@pytest.mark.parametrize("suffix", [":events", ":events/status", "%00", "/../" + MADE_UP])
def test_15_an_id_that_is_none_is_404(
    client: SegmindClient, http: httpx.Client, suffix: str
) -> None:
    """Nothing appended to a good id finds anything else of that request, or an error."""
    job = client.submit_async(MODEL, **small())
    assert http.get(f"/v2/requests/{job.request_id}{suffix}").status_code == 404
    assert http.get(f"/v1/requests/{job.request_id}{suffix}").status_code == 404
    job.wait(interval=0.05)


def test_15_somebody_elses_id_is_404(
    client: SegmindClient, second_key: tuple[str, Key, KeyStore]
) -> None:
    """A foreign request looks as if it did not exist, on all three URLs."""
    job = client.submit_async(MODEL, **small())
    with httpx.Client(headers={"x-api-key": second_key[0]}) as stranger:
        for url in (job.status_url, job.response_url, job.submit_response["poll_url"]):
            answer = stranger.get(url)
            assert answer.status_code == 404
            assert answer.json() == {"error": f"Request {job.request_id} not found"}
    assert job.wait(interval=0.05)["status"] == "COMPLETED"


def completed_in_time(client: SegmindClient) -> tuple[AsyncJob, dict[str, Any]]:
    """A finished job of the api whose requests live for seconds; a busy machine may need a few."""
    for _ in range(20):
        job = client.submit_async(MODEL, **small())
        try:
            return job, job.wait(interval=0.05)
        except SegmindError as error:
            if error.status != 404 and not str(error.detail).startswith("expired"):
                raise
    raise AssertionError("no request was ever finished before it expired")


def test_15_expired_id_is_404(connect: Connect, short_lived_api: str, server: Server) -> None:
    """After its time every URL of a request answers 404, the picture's too."""
    client = connect(f"{short_lived_api}/v1", server.key)
    job, result = completed_in_time(client)
    urls = [job.status_url, job.response_url, job.submit_response["poll_url"]]
    until(lambda: client._client.get(job.status_url).status_code != 200, "the request to expire")
    for url in urls:
        gone = client._client.get(url)
        assert gone.status_code == 404
        assert gone.json() == {"error": f"Request {job.request_id} not found"}
    assert client._client.get(result["output"]).status_code == 404


def test_a_result_is_the_image_of_the_next_request(client: SegmindClient) -> None:
    """The output link as `image`, although the fetcher could not reach its host."""
    first = client.submit_async(MODEL, **small(image_format="png")).wait(interval=0.05)
    link = httpx.URL(first["output"]).copy_with(host="pictures.invalid")
    chained = client.submit_async(MODEL, **small(image=str(link), seed=1)).wait(interval=0.05)
    direct = client.submit_async(
        MODEL, **small(image=base64.b64encode(httpx.get(first["output"]).content).decode(), seed=1)
    ).wait(interval=0.05)
    pictures = [httpx.get(each["output"]).content for each in (chained, direct)]
    assert pictures[0] == pictures[1]


def test_22_two_samples_are_two_images(client: SegmindClient, http: httpx.Client) -> None:
    """`samples=2`: two images, `output` is the first, each with its own seed and pixels."""
    result = client.submit_async(MODEL, **small(samples=2, seed=5)).wait(interval=0.05)
    first, second = result["images"]
    assert result["output"] == first["url"]
    assert [first["seed"], second["seed"]] == ["5", "6"]
    assert http.get(first["url"]).content != http.get(second["url"]).content


def test_28_extra_parameters_reach_the_server(client: SegmindClient, wire: Wire) -> None:
    """`timeout=7, interval=4` are part of the body and do not break the job."""
    result = client.run(MODEL, timeout=7, interval=4, **small())
    sent = json.loads(wire.requests[0].content)
    assert (sent["timeout"], sent["interval"]) == (7, 4)
    assert result["status"] == "COMPLETED"


def test_34_twenty_at_once(client: SegmindClient) -> None:
    """20 parallel submits: 20 ids, all complete, each with its own seed and prompt."""
    with ThreadPoolExecutor(20) as pool:
        jobs = list(
            pool.map(
                lambda n: client.submit_async(MODEL, **small(seed=n, prompt=f"astronaut {n}")),
                range(20),
            )
        )
    assert len({job.request_id for job in jobs}) == 20
    results = [job.wait(interval=0.05) for job in jobs]
    found = [(result["seed"], result["prompt"]) for result in results]
    assert found == [(str(n), f"astronaut {n}") for n in range(20)]


def test_34_first_come_first_served(client: SegmindClient, server: Server) -> None:
    """Requests have their turns on the gpu in the order of their submission."""
    jobs = [client.submit_async(MODEL, **small(seed=n)) for n in range(5)]
    for job in jobs:
        assert job.wait(interval=0.05)["status"] == "COMPLETED"
    with Redis.from_url(server.redis_url) as redis:
        store = RequestStore(redis, ttl_s=1)
        records = [store.get(job.request_id) for job in jobs]
    started = [record.started_at for record in records if record is not None]
    assert len(started) == len(jobs)
    assert started == sorted(started)


def test_35_hundreds_of_polls_a_second(client: SegmindClient, wire: Wire) -> None:
    """500 polls as fast as eight threads can ask, while a picture is made: not one error."""
    job = client.submit_async(MODEL, **slow(4))
    wait_until_processing(job)
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda _: job.status(), range(500)))
    assert {body["request_id"] for body in bodies} == {job.request_id}
    assert bodies[0]["status"] == "PROCESSING"
    assert {answer.status_code for answer in wire.answers} == {200}
    assert wait_for_end(client._client, job.status_url).json()["status"] == "COMPLETED"


def test_38_restart_between_submit_and_poll(
    connect: Connect, server: Server, wire: Wire, http: httpx.Client
) -> None:
    """A new api process still knows the id, its job is finished, and its picture is served."""
    port = free_port()
    with running_api(server.redis_url, port=port) as url:
        job = connect(f"{url}/v1", server.key).submit_async(MODEL, **small())
    with running_api(server.redis_url, port=port):
        result = job.wait(interval=0.05)
        assert http.get(result["output"]).status_code == 200
    assert result["status"] == "COMPLETED"
    assert all(answer.status_code == 200 for answer in wire.answers)
