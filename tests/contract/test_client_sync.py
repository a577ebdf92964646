"""The real client's one blocking call (v1): pictures, sizes, base64, headers, seeds, time-outs.

Numbers in the names are those of the acceptance scenarios.
"""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from redis import Redis
from segmind import SegmindClient

from app.core.requests.record import RequestRecord
from app.core.requests.store import RequestStore
from tests.contract.conftest import Connect
from tests.support.bodies import page, slow, small
from tests.support.pictures import (
    PictureHost,
    astronaut,
    base64_of,
    encoded,
    opened,
)
from tests.support.servers import Server, paused, running_api
from tests.support.waiting import until
from tests.support.wire import V1, wait_for_end

MODEL = "flux-controlnet"


def test_16_run_sync_gives_a_picture(client: SegmindClient) -> None:
    """`run_sync`: an httpx.Response, 200, exactly `image/jpeg`, the size of the input."""
    answer = client.run_sync(MODEL, **page("canny", astronaut((256, 192))))
    assert isinstance(answer, httpx.Response)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert opened(answer.content).size == (256, 192)


@pytest.mark.parametrize(("image_format", "start"), [("png", b"\x89PNG"), ("webp", b"RIFF")])
def test_17_other_formats(client: SegmindClient, image_format: str, start: bytes) -> None:
    """`image_format`: the matching content type and magic bytes."""
    answer = client.run_sync(MODEL, **small(image_format=image_format))
    assert answer.headers["content-type"] == f"image/{image_format}"
    assert answer.content.startswith(start)
    assert opened(answer.content).format == image_format.upper()


def test_18_custom_size(client: SegmindClient) -> None:
    """`use_input_img_dimension=False, custom_width=768, custom_height=512`: 768x512."""
    size = {"custom_width": 768, "custom_height": 512}
    answer = client.run_sync(MODEL, **small(use_input_img_dimension=False, **size))
    assert opened(answer.content).size == (768, 512)


def test_19_base64(client: SegmindClient) -> None:
    """`base64=True`: JSON whose `image` is the very file, without a prefix."""
    plain = client.run_sync(MODEL, **small(seed=3))
    answer = client.run_sync(MODEL, **small(seed=3, base64=True))
    body = answer.json()
    assert base64.b64decode(body["image"], validate=True) == plain.content
    assert body["status"] == "Success"
    assert body["infer_time"] > 0
    assert (body["outputs"], body["image_format"]) == (1, "jpeg")


def test_20_headers(client: SegmindClient) -> None:
    """Credits, id, seconds, seed and cost come as headers."""
    headers = client.run_sync(MODEL, **small(seed=8)).headers
    assert float(headers["x-remaining-credits"]) >= 0
    assert float(headers["x-cost"]) >= 0
    assert float(headers["x-generation-time"]) > 0
    assert int(headers["x-request-id"], 16) > 0
    assert headers["x-seed-value"] == "8"


def test_21_a_seed_replays_and_minus_one_draws(client: SegmindClient) -> None:
    """The same seed gives the same picture; -1 another one each time, whose seed replays it."""
    assert client.run_sync(MODEL, **small(seed=9)).content == (
        client.run_sync(MODEL, **small(seed=9)).content
    )
    first, second = (client.run_sync(MODEL, **small(seed=-1)) for _ in range(2))
    drawn = int(first.headers["x-seed-value"])
    assert drawn >= 0
    assert drawn != int(second.headers["x-seed-value"])
    assert first.content != second.content
    assert client.run_sync(MODEL, **small(seed=drawn)).content == first.content


def test_21_no_seed_is_a_drawn_one(client: SegmindClient) -> None:
    """Without `seed`, `sampler`, `scheduler`: a random seed, euler, simple."""
    first = client.run_sync(MODEL, **small())
    body = small(seed=int(first.headers["x-seed-value"]), sampler="euler", scheduler="simple")
    assert client.run_sync(MODEL, **body).content == first.content


def test_23_every_form_of_image(client: SegmindClient, host: PictureHost) -> None:
    """Raw base64, a data URI and a URL of one picture: the same result from each."""
    photograph = astronaut((128, 128))
    raw = base64_of(photograph)
    forms = {
        "raw base64": raw,
        "without padding": raw.rstrip("="),
        "in lines": "\n".join(raw[start : start + 76] for start in range(0, len(raw), 76)),
        "data URI": f"data:image/png;base64,{raw}",
        "URL": host.serve("/23.png", encoded(photograph)),
    }
    made = {
        name: client.run_sync(MODEL, **small(image=image, seed=4)).content
        for name, image in forms.items()
    }
    assert [name for name in forms if made[name] != made["URL"]] == []
    assert host.requests.count("/23.png") == 1


def test_32_client_gives_up_and_the_server_lives_on(
    connect: Connect, client: SegmindClient, server: Server
) -> None:
    """`SegmindClient(timeout=0.5)` on a slow job: httpx.ReadTimeout; later requests work."""
    hasty = connect(f"{server.url}/v1", server.key, timeout=0.5)
    with pytest.raises(httpx.ReadTimeout):
        hasty.run_sync(MODEL, **slow(4))
    assert client.run_sync(MODEL, **small()).status_code == 200


def record_of(server: Server, prompt: str) -> RequestRecord | None:
    """The stored request with this prompt: its client disconnected before it got the id."""
    with Redis.from_url(server.redis_url) as redis:
        store = RequestStore(redis, ttl_s=1)
        ids = [key.decode().split(":")[1] for key in redis.scan_iter("req:*", _type="hash")]
        records = [store.get(request_id) for request_id in ids]
    return next((found for found in records if found and found.params.prompt == prompt), None)


def test_32_a_waiting_request_is_cancelled_with_its_client(
    connect: Connect, client: SegmindClient, server: Server
) -> None:
    """A v1 request that has not begun ends as cancelled when its client hangs up."""
    prompt = "no client waits for this"
    hasty = connect(f"{server.url}/v1", server.key, timeout=3)
    with paused(server, "worker gpu"):
        with pytest.raises(httpx.ReadTimeout):
            hasty.run_sync(MODEL, **small(prompt=prompt))
        until(lambda: (r := record_of(server, prompt)) is not None and r.status.terminal, "its end")
    record = record_of(server, prompt)
    assert record is not None
    assert record.status == "FAILED"
    assert str(record.error).startswith("cancelled")
    assert client.run_sync(MODEL, **small()).status_code == 200


def test_v1_past_its_deadline_hands_over_to_v2(strict: httpx.Client, http: httpx.Client) -> None:
    """504 with the request's id; the request goes on and v2 delivers it."""
    late = strict.post(V1, json=small())
    assert late.status_code == 504
    assert set(late.json()) == {"error", "request_id"}
    end = wait_for_end(http, f"/v2/requests/{late.json()['request_id']}")
    assert end.json()["status"] == "COMPLETED"


def test_an_api_that_is_stopped_hands_its_open_call_over_to_v2(
    server: Server, http: httpx.Client
) -> None:
    """503 with the request's id; the request goes on and another api process delivers it."""
    body = small(prompt="the api is stopped")
    with ThreadPoolExecutor(1) as pool, paused(server, "worker gpu"):
        # Not ready: it would not be after 15 s without the gpu worker.
        with running_api(server.redis_url, ready=False) as url:
            call = pool.submit(
                httpx.post, f"{url}{V1}", json=body, headers=server.headers, timeout=60
            )
            until(lambda: record_of(server, "the api is stopped") is not None, "the submission")
        answer = call.result()
    assert answer.status_code == 503
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert "the server is stopping" in answer.json()["error"].lower()
    end = wait_for_end(http, f"/v2/requests/{answer.json()['request_id']}")
    assert end.json()["status"] == "COMPLETED"


def test_v1_samples_without_base64(client: SegmindClient, http: httpx.Client) -> None:
    """`samples=2` in binary: the first picture, how many there are, and v2 for the rest."""
    answer = client.run_sync(MODEL, **small(samples=2, seed=5))
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-output-count"] == "2"
    result = http.get(f"/v2/requests/{answer.headers['x-request-id']}").json()
    first, second = (http.get(image["url"]).content for image in result["images"])
    assert first == answer.content
    assert second == client.run_sync(MODEL, **small(seed=6)).content
