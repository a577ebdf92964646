"""Control maps over HTTP: made alone, handed out beside a result, and given back ready-made."""

from __future__ import annotations

import base64
import json

import httpx
import pytest
from PIL import Image
from redis import Redis
from schemathesis.schemas import BaseSchema

from app.core.accounts.api_keys import KeyStore, mint
from app.core.images.encode import fit
from models.controls import make_plain_map
from models.geometry import generated_size
from tests.support.bodies import small
from tests.support.pictures import PictureHost, astronaut, base64_of, encoded, opened
from tests.support.servers import Server
from tests.support.wire import V1, V2, finished, picture

PREPROCESS = f"{V1}/preprocess"
ODD = (100, 75)


def mapped(http: httpx.Client, **body: object) -> httpx.Response:
    answer = http.post(PREPROCESS, json={"image": base64_of(astronaut(ODD)), **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return answer


def link_of_map(http: httpx.Client, **changes: object) -> tuple[dict[str, object], bytes]:
    """A result, and the file behind the link of its control map."""
    result = finished(http, small(image=base64_of(astronaut(ODD)), **changes))
    answer = http.get(result["control_map"]["url"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == result["control_map"]["content_type"] == "image/png"
    assert len(answer.content) == result["control_map"]["file_size"]
    return result, answer.content


@pytest.mark.parametrize("cn_type", ["canny", "tile"])
def test_plain_maps_are_what_generation_uses_and_take_no_gpu_turn(
    http: httpx.Client, server: Server, cn_type: str
) -> None:
    answer = mapped(http, cn_type=cn_type)
    size = generated_size(ODD)
    assert size == (112, 80)
    expected = make_plain_map(cn_type, fit(astronaut(ODD), ODD, size), size)
    assert expected is not None
    assert opened(answer.content).tobytes() == expected.tobytes()
    assert json.loads(answer.headers["x-output-metadata"]) == {"width": 112, "height": 80}
    request_id = answer.headers["x-request-id"]
    with Redis.from_url(server.redis_url) as redis:
        assert redis.exists(f"rq:job:{request_id}-prepare", f"rq:job:{request_id}-finish") == 2
        assert not redis.exists(f"rq:job:{request_id}-generate")
        assert not redis.hexists(f"req:{request_id}", "started_at")


@pytest.mark.parametrize("cn_type", ["canny", "tile", "depth", "pose"])
def test_a_result_links_the_map_that_preprocess_makes(http: httpx.Client, cn_type: str) -> None:
    result, linked = link_of_map(http, cn_type=cn_type)
    assert linked == mapped(http, cn_type=cn_type).content
    assert (result["control_map"]["width"], result["control_map"]["height"]) == (112, 80)


def test_a_detected_map_takes_one_short_gpu_job(http: httpx.Client, server: Server) -> None:
    answer = mapped(http, cn_type="depth", use_input_img_dimension=False, custom_width=160)
    assert opened(answer.content).size == (160, 1024)
    request_id = answer.headers["x-request-id"]
    result = http.get(f"/v2/requests/{request_id}").json()
    assert result["status"] == "COMPLETED"
    assert http.get(result["output"]).content == answer.content
    assert result["metrics"]["model_evaluations"] == result["metrics"]["work_units"] == 0
    assert "control_map" not in result
    with Redis.from_url(server.redis_url) as redis:
        assert redis.exists(f"rq:job:{request_id}-generate")


def test_a_map_comes_back_as_the_control_of_the_same_picture(http: httpx.Client) -> None:
    """By link, base64, data URI, file and URL; pixel for pixel, rim included."""
    result, linked = link_of_map(http, cn_type="depth", seed=5, image_format="png")
    size = {"use_input_img_dimension": False, "custom_width": 100, "custom_height": 75}
    body = {key: value for key, value in small(seed=5, image_format="png").items()}
    del body["image"]
    body |= {"cn_type": "depth", **size}
    made = opened(http.get(result["output"]).content).tobytes()
    text = base64.b64encode(linked).decode()
    for control in (result["control_map"]["url"], text, f"data:image/png;base64,{text}"):
        again = finished(http, {**body, "control_image": control})
        assert opened(http.get(again["output"]).content).tobytes() == made
        assert http.get(again["control_map"]["url"]).content == linked
    form = {key: str(value) for key, value in body.items()}
    answer = http.post(V1, data=form, files={"control_image": ("map.png", linked)})
    assert opened(answer.content).tobytes() == made


def test_control_image_takes_the_place_of_image(http: httpx.Client, host: PictureHost) -> None:
    """`image` is neither needed nor fetched, and the result is as large as the map."""
    url = host.serve("/control.png", encoded(Image.new("RGB", (80, 64), "black")))
    body = small(image=f"{host.origin}/never.png", control_image=url, cn_type="pose")
    assert opened(picture(http, body)).size == (80, 64)
    assert "/never.png" not in host.requests
    assert "/control.png" in host.requests


def test_an_error_about_a_control_map_names_control_image(http: httpx.Client) -> None:
    body = small()
    del body["image"]
    assert http.post(V2, json=body).json()["error"].startswith("image: is missing")
    for wrong, sentence in {
        "": "control_image: is empty; a non-empty string is needed",
        "no picture": "control_image: neither an http(s) URL nor base64 nor a base64 data URI",
        "https://x/" + "a" * 8200: "control_image: a URL has at most 8192 characters",
        "http://10.0.0.1/a.png": "control_image: the URL cannot be used: its host is not allowed",
    }.items():
        answer = http.post(V1, json={**body, "control_image": wrong})
        assert (answer.status_code, answer.json()["error"]) == (400, sentence)
    answer = http.post(V1, json=small(control_image=7))
    assert answer.json()["error"].startswith("control_image: 7 is not allowed")


def test_preprocess_refuses_as_the_other_endpoints_do(http: httpx.Client) -> None:
    for body, sentence in (
        ({}, "image: is missing"),
        ({"image": "no picture"}, "image: neither an http(s) URL"),
        ({"image": "x", "cn_type": "sketch", "custom_width": 63}, "cn_type: "),
    ):
        answer = http.post(PREPROCESS, json=body)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(sentence)
    assert http.post(PREPROCESS, content=b"x").status_code == 406
    assert http.post(PREPROCESS, json={}, headers={"x-api-key": "SG_no"}).status_code == 401
    assert http.get(PREPROCESS).status_code == 405


def test_preprocess_takes_forms(http: httpx.Client) -> None:
    answer = http.post(
        PREPROCESS,
        data={"cn_type": "canny"},
        files={"image": ("a.png", encoded(astronaut(ODD)))},
    )
    assert answer.content == mapped(http, cn_type="canny").content


def test_preprocess_answers_as_documented(http: httpx.Client, document: BaseSchema) -> None:
    operation = document[PREPROCESS]["POST"]
    for body in ({"image": base64_of(astronaut(ODD)), "cn_type": "canny"}, {"image": "x"}, {}):
        operation.validate_response(http.post(PREPROCESS, json=body))


def test_another_key_sees_nothing_of_it(http: httpx.Client, server: Server) -> None:
    request_id = mapped(http, cn_type="canny").headers["x-request-id"]
    with Redis.from_url(server.redis_url) as redis:
        secret = mint()
        KeyStore(redis).add(secret, "others")
    foreign = {"x-api-key": secret}
    assert http.get(f"/v2/requests/{request_id}", headers=foreign).status_code == 404
