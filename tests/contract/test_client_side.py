"""The client's side endpoints, re-pointed: uploads, history, models. Numbers in the names are those
of the acceptance scenarios.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from segmind import SegmindClient
from segmind.exceptions import SegmindError
from segmind.files import Files

from tests.support.bodies import small
from tests.support.pictures import astronaut, encoded, opened
from tests.support.servers import Server, a_key, paused
from tests.support.waiting import until
from tests.support.wire import V2, finished, picture, wait_for_end

MODEL = "flux-controlnet"
HISTORY = "/inference-request/request-history"


@pytest.fixture
def side(client: SegmindClient, server: Server, monkeypatch: pytest.MonkeyPatch) -> SegmindClient:
    """The real client with everything that names a host of its own turned to the server, as
    docs/migrating-from-segmind.md says."""
    monkeypatch.setattr(Files, "STORAGE_BASE_URL", server.url)
    # `segmind.generations` is an object that hides the module of that name.
    module = sys.modules["segmind.generations"]
    monkeypatch.setattr(module, "REQUEST_HISTORY_URL", server.url + HISTORY)
    here = httpx.URL(server.url)

    def to_server(request: httpx.Request) -> None:
        if request.url.host.endswith(".segmind.com"):
            request.url = request.url.copy_with(scheme=here.scheme, host=here.host, port=here.port)
            request.headers["host"] = here.netloc.decode()

    client._client.event_hooks["request"].append(to_server)
    return client


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def rows_of(http: httpx.Client, request_id: str, **asked: Any) -> list[dict[str, Any]]:
    """A request's rows of the history, once they are there."""

    def rows() -> list[dict[str, Any]]:
        page = http.get(HISTORY, params={"per_page": 100, **asked}).json()
        return [row for row in page["data"] if row["request_id"] == request_id]

    until(lambda: any(row["model_status"] != "PENDING" for row in rows()), "it in the history")
    return rows()


def test_24_uploads_come_back_in_order_and_open(side: SegmindClient, tmp_path: Path) -> None:
    """files.upload: a link for each file, in order; the link alone gives the very bytes."""
    files = [tmp_path / "a.png", tmp_path / "b.jpg"]
    for number, (file, kind) in enumerate(zip(files, ("PNG", "JPEG"), strict=True)):
        file.write_bytes(encoded(astronaut((64 + number, 64)), kind))
    uploaded = side.files.upload([str(file) for file in files])
    assert uploaded["message"] == "Files uploaded successfully"
    assert uploaded["urls"] == uploaded["file_urls"]
    for file, link, kind in zip(files, uploaded["file_urls"], ("png", "jpeg"), strict=True):
        answer = httpx.get(link)
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"] == f"image/{kind}"
    again = side.files.upload(files[0])["file_urls"][0]
    assert again.partition("?")[0] == uploaded["file_urls"][0].partition("?")[0]


def test_23_an_upload_is_an_image(side: SegmindClient, http: httpx.Client, tmp_path: Path) -> None:
    """The link as `image`, whatever host it names, gives the picture that the file gives."""
    body = small(seed=7)
    (tmp_path / "a.png").write_bytes(base64.b64decode(body["image"]))
    link = side.files.upload(tmp_path / "a.png")["file_urls"][0]
    elsewhere = "https://flux.elsewhere.example" + httpx.URL(link).raw_path.decode()
    expected = picture(http, body)
    for url in (link, elsewhere):
        assert picture(http, {**body, "image": url}) == expected


def test_a_link_that_was_changed_is_nothing(side: SegmindClient, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(astronaut((32, 32))))
    link = side.files.upload(tmp_path / "a.png")["file_urls"][0]
    other = link[:-1] + ("0" if link[-1] != "0" else "1")
    for changed in (other, link.replace("/uploads/", "/uploads/0")):
        assert httpx.get(changed).status_code == 404
    assert httpx.head(link).status_code == 200


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "data_urls: a list of 1 to 16 data URIs is needed"),
        ({"data_urls": "data:"}, "data_urls: a list of 1 to 16"),
        ({"data_urls": []}, "data_urls: a list of 1 to 16"),
        ({"data_urls": ["data:,"] * 17}, "data_urls: a list of 1 to 16"),
        ({"data_urls": [1]}, "data_urls[0]: a data URI is needed"),
        ({"data_urls": ["no data URI!"]}, "data_urls[0]: not a base64 data URI"),
        (
            {"data_urls": [data_url(encoded(astronaut((8, 8)))), data_url(b"<svg/>", "svg+xml")]},
            "data_urls[1]: this is SVG; allowed are jpeg, png, webp, gif, bmp, tiff, avif, heic",
        ),
    ],
)
def test_a_file_that_is_no_picture_is_refused(
    http: httpx.Client, body: dict[str, Any], sentence: str
) -> None:
    answer = http.post("/upload-asset", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)


def test_other_content_and_no_key_are_refused(http: httpx.Client) -> None:
    assert http.post("/upload-asset", data={"data_urls": "x"}).status_code == 406
    assert http.post("/upload-asset", json={}, headers={"x-api-key": ""}).status_code == 401


def test_39_history_and_get(side: SegmindClient, http: httpx.Client) -> None:
    """generations.history and .get: a row a picture with inputs, cost, times and a link."""
    made = finished(http, small(samples=2, seed=41))
    request_id = made["request_id"]
    rows = rows_of(http, request_id)
    assert [row["output"] for row in rows] == [0, 1]
    assert [row["seed"] for row in rows] == ["41", "42"]
    for row in rows:
        assert (row["model_name"], row["model_status"], row["error"]) == (MODEL, "COMPLETED", None)
        inputs = json.loads(row["request_body"])
        assert inputs["prompt"] == "an astronaut"
        assert inputs["image"] == "(base64)"
        # Both are rounded, each in its own way.
        assert abs(row["latency_ms"] - made["metrics"]["total_time"] * 1000) <= 1
        assert row["credits_deduction"] == made["metrics"]["cost"]
        opened(httpx.get(row["generation_url"]).content)
    one = side.generations.get(request_id)
    assert one["generation_urls"] == [picture["url"] for picture in made["images"]]
    assert {name: one[name] for name in rows[0]} == rows[0]


def test_39_failures_are_in_the_history(side: SegmindClient, http: httpx.Client) -> None:
    """generations.history(status="FAILED") has it with the reason, other filters do not."""
    submitted = http.post(V2, json=small(image="no picture")).json()
    failed = wait_for_end(http, submitted["response_url"]).json()
    row = rows_of(http, submitted["request_id"])[0]
    page = side.generations.history(status="FAILED", per_page=100, sort_order="desc")
    assert row in page["data"]
    assert row["error"] == failed["error"]
    assert row["generation_url"] is None
    assert {other["model_status"] for other in page["data"]} == {"FAILED"}
    for filters in (
        {"status": "COMPLETED"},
        {"model_name": "another"},
        {"user_id": "somebody"},
        {"from_date": "2001-01-01", "to_date": "2001-01-31"},
    ):
        page = side.generations.history(per_page=100, **filters)  # type: ignore[arg-type]
        assert row not in page["data"]


def test_an_unfinished_request_is_pending(
    side: SegmindClient, server: Server, http: httpx.Client
) -> None:
    with paused(server, "worker gpu"):
        submitted = http.post(V2, json=small()).json()
        row = side.generations.get(submitted["request_id"])
        page = side.generations.history(status="PENDING")
    assert wait_for_end(http, submitted["response_url"]).status_code == 200
    assert row["model_status"] == "PENDING"
    # There may be more: what earlier tests have not waited for.
    assert submitted["request_id"] in [one["request_id"] for one in page["data"]]
    assert {one["model_status"] for one in page["data"]} == {"PENDING"}


def test_pages_have_the_requested_length(side: SegmindClient, http: httpx.Client) -> None:
    rows_of(http, finished(http, small(samples=2))["request_id"])
    first, second = (side.generations.history(page=page, per_page=1) for page in (1, 2))
    both = side.generations.history(per_page=2)
    assert [first["data"][0], second["data"][0]] == both["data"]
    assert first["total"] == first["total_pages"] >= 2


def test_list_and_recent(side: SegmindClient, http: httpx.Client) -> None:
    """generations.list and .recent: pictures only, newest first, with prompt and parameters."""
    request_id = finished(http, small(seed=5))["request_id"]
    rows_of(http, request_id)
    for answer in (
        side.generations.list(model_name=MODEL),
        side.generations.recent(MODEL),
    ):
        row = next(one for one in answer["generations"] if one["request_id"] == request_id)
        assert row["generation_url"].startswith(str(http.base_url))
        assert row["prompt"] == "an astronaut"
        assert row["parameters"]["seed"] == 5
        assert row["status"] == "COMPLETED"
    assert side.generations.list(user_id="somebody")["generations"] == []
    assert side.generations.list(start_date="2001-01-01", end_date="2001-12-31")["total"] == 0


def test_40_the_model_is_listed(side: SegmindClient) -> None:
    """models.list names flux-controlnet and says what it takes."""
    listed = side.models.list()["models"]
    assert [model["slug"] for model in listed] == [MODEL]
    parameters = listed[0]["parameters"]
    assert parameters["required"] == ["prompt"]
    pictures = [branch["required"] for branch in parameters["anyOf"]]
    assert pictures == [["image"], ["control_image"], ["controls"]]


def test_another_owner_sees_nothing_of_it(server: Server, http: httpx.Client) -> None:
    request_id = finished(http, small())["request_id"]
    rows_of(http, request_id)
    stranger = {"x-api-key": a_key(server.redis_url)}
    assert http.get(f"{HISTORY}/{request_id}", headers=stranger).status_code == 404
    assert http.get(HISTORY, headers=stranger).json()["total"] == 0


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"page": 0}, "page"),
        ({"per_page": 101}, "per_page"),
        ({"from_date": "yesterday"}, "from_date"),
        ({"from_date": "2026-01-01", "to_date": "2026-02-02"}, "from_date"),
        ({"status": "DONE"}, "status"),
        ({"sort_by": "age"}, "sort_by"),
    ],
)
def test_bad_filters_are_named(http: httpx.Client, asked: dict[str, Any], field: str) -> None:
    answer = http.get(HISTORY, params=asked)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{field}: ")


def test_an_unknown_request_is_not_found(side: SegmindClient) -> None:
    for unknown in ("0" * 32, "no id", "a\0b"):
        with pytest.raises(SegmindError) as missing:
            side.generations.get(unknown)
        assert missing.value.status == 404
