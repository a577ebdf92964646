"""Several controls in one request, and the window and thresholds of one, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from app import cli
from models.controls import make_plain_map
from tests.support.bodies import small
from tests.support.pictures import PictureHost, astronaut, base64_of, encoded, opened
from tests.support.servers import Server
from tests.support.wire import V1, V2, finished

SIZE = (64, 64)
TURNED = astronaut(SIZE).rotate(90)
WINDOW = {"strength": 0.8, "start": 0.1, "stop": 0.9}


def listed(controls: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A small request with `controls`."""
    body = small(image=base64_of(astronaut(SIZE)), seed=5, image_format="png")
    body |= {"controls": controls, **changes}
    del body["cn_type"]
    return {name: value for name, value in body.items() if value is not None}


def receipt_of(http: httpx.Client, result: dict[str, Any]) -> dict[str, Any]:
    answer = http.get(f"/v2/requests/{result['request_id']}/receipt")
    assert answer.status_code == 200
    return dict(answer.json()["receipt"])


def pixels_of(http: httpx.Client, result: dict[str, Any]) -> bytes:
    return opened(http.get(result["output"]).content).tobytes()


@pytest.mark.parametrize("cn_type", ["canny", "pose"])
def test_one_control_in_a_list_is_the_same_request_bit_for_bit(
    http: httpx.Client, cn_type: str
) -> None:
    one = {f"cn_{name}": value for name, value in WINDOW.items()}
    body = small(image=base64_of(astronaut(SIZE)), seed=5, image_format="png")
    alone = finished(http, {**body, "cn_type": cn_type, **one})
    same = finished(http, listed([{"type": cn_type, **WINDOW}]))
    assert pixels_of(http, alone) == pixels_of(http, same)
    before, after = receipt_of(http, alone), receipt_of(http, same)
    for name in ("outputs", "control_map"):
        assert {**before, "control_maps": [before["control_map"]]}.keys() == after.keys()
        facts = [of["outputs"][0] if name == "outputs" else of[name] for of in (before, after)]
        assert facts[0]["pixels_sha256"] == facts[1]["pixels_sha256"]
    for name in ("work_units", "model_evaluations", "controlled_evaluations"):
        assert alone["metrics"][name] == same["metrics"][name]
    assert "control_maps" not in alone
    [control_map] = same["control_maps"]
    assert control_map == same["control_map"]


def test_two_controls_with_pictures_from_everywhere(
    http: httpx.Client, host: PictureHost, server: Server, tmp_path: Path
) -> None:
    """By URL and as a ready map; the result, its receipt, a replay, the files and the history."""
    url = host.serve("/turned.png", encoded(TURNED))
    edges = make_plain_map("canny", astronaut(SIZE), SIZE)
    assert edges is not None
    controls = [
        {"type": "tile", "image": url, **WINDOW},
        {"type": "canny", "control_image": base64_of(edges), "stop": 0.4},
    ]
    result = finished(http, listed(controls, image=None))
    maps = [http.get(of["url"]).content for of in result["control_maps"]]
    assert [opened(of).tobytes() for of in maps] == [TURNED.tobytes(), edges.tobytes()]
    assert [of["file_name"] for of in result["control_maps"]] == ["map.png", "map-1.png"]
    assert result["control_map"] == result["control_maps"][0]
    evaluations = result["metrics"]["model_evaluations"]
    assert result["metrics"]["controlled_evaluations"] < 2 * evaluations
    assert result["metrics"]["work_units"] > 64 * 64 / 2**20 * evaluations
    # Another picture than with one of the two alone.
    alone = finished(http, listed(controls[:1], image=None))
    assert pixels_of(http, alone) != pixels_of(http, result)
    # The link of a map is a picture like any other.
    links = [of["url"] for of in result["control_maps"]]
    own = [{**of, "control_image": link} for of, link in zip(controls, links, strict=True)]
    again = finished(http, listed(own, image=None))
    assert pixels_of(http, again) == pixels_of(http, result)

    receipt = http.get(f"/v2/requests/{result['request_id']}/receipt").json()
    assert [of["url"].partition("?")[0] for of in receipt["receipt"]["control_maps"]] == [
        link.partition("?")[0] for link in links
    ]
    assert receipt["receipt"]["parameters"]["controls"] == [
        {"type": "tile", **WINDOW},
        {"type": "canny", "strength": 0.45, "start": 0.0, "stop": 0.4},
    ]
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(receipt))
    address = ["--url", server.url, "--key", server.key]
    assert cli.main(["receipt", "replay", str(file), *address]) == 0

    row = http.get(f"/inference-request/request-history/{result['request_id']}").json()
    inputs = json.loads(row["request_body"])
    assert [of.get("image") or of.get("control_image") for of in inputs["controls"]] == [
        url,
        "(base64)",
    ]
    assert not {"cn_type", "cn_stop", "cn_strength", "image"} & inputs.keys()


def test_two_controls_in_a_form_with_files(http: httpx.Client) -> None:
    """v1 by a form gives what v2 gives for JSON; the picture of the request serves one of them."""
    controls = [{"type": "canny", **WINDOW}, {"type": "tile", "strength": "0.3"}]
    own = [controls[0], {**controls[1], "image": base64_of(TURNED)}]
    result = finished(http, listed(own))
    form = {name: str(value) for name, value in listed([]).items() if name != "image"}
    form["controls"] = json.dumps(controls)
    files = {
        "image": ("photo.png", encoded(astronaut(SIZE))),
        "controls[1].image": ("turned.png", encoded(TURNED)),
    }
    answer = http.post(V1, data=form, files=files)
    assert answer.status_code == 200, answer.text
    assert opened(answer.content).tobytes() == pixels_of(http, result)


def test_long_pictures_inside_the_list(http: httpx.Client) -> None:
    """Longer than what the parser leaves in the text, in JSON and in the text of a form."""
    noise = Image.effect_noise((192, 192), 100).convert("RGB")
    text = base64_of(noise)
    assert len(text) > 32_768
    controls = [{"type": "tile", "image": text}, {"type": "gray", "control_image": text}]
    body = listed(controls, image=None, use_input_img_dimension=False)
    body |= {"custom_width": 64, "custom_height": 64}
    result = finished(http, body)
    form = {name: str(value) for name, value in body.items()} | {"controls": json.dumps(controls)}
    parts = {name: (None, value) for name, value in form.items()}
    answer = http.post(V1, files=parts)
    assert answer.status_code == 200, answer.text
    assert opened(answer.content).tobytes() == pixels_of(http, result)


def test_an_idempotency_key_holds_for_the_pictures_of_a_list(http: httpx.Client) -> None:
    key = {"idempotency-key": "controls"}
    first, other = base64_of(TURNED), base64_of(astronaut(SIZE))
    answers = [
        http.post(V2, json=listed([{"type": "tile", "image": image}]), headers=key)
        for image in (first, first, other)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 409]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize("path", [V1, V2])
def test_a_wrong_list_is_refused_before_there_is_a_request(http: httpx.Client, path: str) -> None:
    controls = [{"type": "canny"}, {"type": "pose", "strength": 3}]
    answer = http.post(path, json=listed(controls))
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "controls[1].strength: 3 is not allowed; allowed is a number from 0 to 2",
    )
    answer = http.post(path, data={"prompt": "x", "controls": "[{"}, files={"image": b"x"})
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "controls: not valid JSON; a list of 1 to 3 objects is needed",
    )


def test_a_picture_of_a_list_that_cannot_be_read_or_fetched_is_named(http: httpx.Client) -> None:
    for image, reason in (
        ("no picture", "neither an http(s) URL nor base64 nor a base64 data URI"),
        ("http://10.0.0.1/a.png", "the URL cannot be used: its host is not allowed"),
    ):
        controls = [{"type": "canny"}, {"type": "pose", "image": image}]
        answer = http.post(V1, json=listed(controls))
        assert (answer.status_code, answer.json()["error"]) == (
            400,
            f"controls[1].image: {reason}",
        )


def test_thresholds_and_new_types_in_a_preview_and_a_picture(http: httpx.Client) -> None:
    picture = astronaut(SIZE)
    for control, thresholds in (("canny", (20, 60)), ("blur", ()), ("gray", ()), ("lq", ())):
        names = ("canny_low", "canny_high")
        body = small(image=base64_of(picture), cn_type=control, image_format="png")
        body |= dict(zip(names, thresholds, strict=False))
        expected = make_plain_map(control, picture, SIZE, *thresholds)
        assert expected is not None
        preview = http.post(f"{V1}/preprocess", json=body)
        assert opened(preview.content).tobytes() == expected.tobytes()
        result = finished(http, body)
        assert http.get(result["control_map"]["url"]).content == preview.content


def test_a_control_that_begins_late_runs_in_fewer_evaluations(http: httpx.Client) -> None:
    body = small(image=base64_of(astronaut(SIZE)), cn_stop=1)
    counts = [
        finished(http, {**body, **window})["metrics"]["controlled_evaluations"]
        for window in ({}, {"cn_start": 0}, {"cn_start": 0.5}, {"cn_start": 1})
    ]
    assert counts[0] == counts[1] == 15
    assert 0 < counts[2] < 15
    assert counts[3] < counts[2]


def test_an_answer_to_a_list_is_as_documented(http: httpx.Client, document: Any) -> None:
    request_id = finished(http, listed([{"type": "canny"}, {"type": "tile"}]))["request_id"]
    for path in ("/v2/requests/{request_id}", "/v2/requests/{request_id}/receipt"):
        answer = http.get(path.format(request_id=request_id))
        document[path]["GET"].validate_response(answer)
