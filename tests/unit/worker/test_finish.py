"""The finish job: the outputs of a request, and the metadata of their files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any, cast

import pytest
from PIL import Image

from app.core.errors import ContentWithheld
from app.core.images.metadata import embedded
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.types import GenerationParameters, Output, Provenance, Source
from app.core.settings import Settings
from models.spec import Control
from tests.support.pictures import astronaut, opened
from tests.support.records import generated, prepared
from tests.support.redis_keys import dump
from worker import finish as job
from worker.runtime import Runtime

ID = "f" * 32
PARAMS = GenerationParameters(
    prompt="a lighthouse",
    cn_type="depth",
    cn_strength=0.7,
    cn_stop=0.6,
    guidance=4.0,
    steps=17,
    sampler="deis",
    scheduler="beta",
    seed=9,
    samples=2,
    image_format="jpeg",
    quality=90,
    base64=False,
    use_input_img_dimension=True,
    custom_width=1024,
    custom_height=1024,
)


def ended(
    context: Runtime, annotated: bool = False, lost: tuple[str, ...] = (), **params: Any
) -> RequestRecord:
    """The record after the job, for pictures of 100x60 made as 112x64. lost: blobs that are not
    there any more."""
    expires_at = context.requests.expiry()
    context.requests.submit(ID, "a", replace(PARAMS, **params), Source(), expires_at)
    made_by = Provenance(checkpoint="stub")
    for stage, result in (
        (Stage.PREPARE, prepared(width=100, height=60, annotated=annotated, work=2.0)),
        (Stage.GENERATE, generated(inference_s=1.0, profile="exact", provenance=made_by)),
    ):
        context.requests.claim(ID, stage, "e")
        context.requests.advance(ID, stage, "e", result)
    for index in range(2):
        pixels = astronaut((112, 64)).rotate(index * 90).tobytes()
        context.blobs.put(f"{ID}:pixels:{index}", pixels, expires_at)
    for name in ("control", "map"):
        pixels = astronaut((112, 64)).convert("L").point(lambda x: x // 2).convert("RGB").tobytes()
        context.blobs.put(
            f"{ID}:{name}", bytes(len(pixels)) if name == "control" else pixels, expires_at
        )
    context.blobs.delete(*(f"{ID}:{name}" for name in lost))
    job.finish(ID)
    record = context.requests.get(ID)
    assert record is not None
    return record


def finished(
    context: Runtime, annotated: bool = False, lost: tuple[str, ...] = (), **params: Any
) -> RequestRecord:
    record = ended(context, annotated, lost, **params)
    assert record.status is Status.COMPLETED, record.error
    return record


def delivered(context: Runtime, name: str) -> Any:
    data = context.blobs.get(f"{ID}:output:{name}")
    assert data is not None
    return opened(data)


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_the_setting_output_metadata_decides_whether_files_have_metadata(
    worker_runtime: Runtime, image_format: str
) -> None:
    finished(worker_runtime, image_format=image_format)
    telling = delivered(worker_runtime, "1")
    text = embedded(telling)
    assert text is not None
    metadata = json.loads(text)
    assert metadata["parameters"]["prompt"] == "a lighthouse"
    assert (metadata["parameters"]["seed"], metadata["parameters"]["samples"]) == (10, 1)
    assert "base64" not in metadata["parameters"]
    if image_format == "png":
        assert telling.info["parameters"].startswith("a lighthouse\nSteps: 17, Sampler: DEIS, ")
        assert "Seed: 10, Size: 100x60, Model: stub, " in telling.info["parameters"]
    worker_runtime.requests.forget(ID)
    worker_runtime.settings = Settings(output_metadata=False)
    record = finished(worker_runtime, image_format=image_format)
    silent = delivered(worker_runtime, "1")
    assert embedded(silent) is None
    assert "exif" not in silent.info
    assert silent.tobytes() == telling.tobytes()
    assert b"lighthouse" not in (worker_runtime.blobs.get(f"{ID}:output:1") or b"")
    assert record.outputs[1].pixels_sha256 == metadata["pixels_sha256"]


@pytest.mark.parametrize("annotated", [True, False])
def test_the_control_map_is_delivered_uncropped(worker_runtime: Runtime, annotated: bool) -> None:
    """The map of prepare, or of the gpu worker; with the padding that the picture loses."""
    record = finished(worker_runtime, annotated)
    control_map = delivered(worker_runtime, "map")
    assert control_map.size == (112, 64)
    assert (control_map.getextrema() == ((0, 0),) * 3) is annotated
    assert record.control_map is not None
    assert (record.control_map.file_name, record.control_map.width) == ("map.png", 112)
    for name in ("control", "map", "pixels:0"):
        assert worker_runtime.blobs.get(f"{ID}:{name}") is None


@pytest.mark.parametrize(
    ("settings", "life_s"),
    [
        ({}, 3600),
        ({"output_ttl_s": 60}, 3600),
        ({"output_ttl_s": 86_400}, 86_400),
        ({"blob_url": "file:///srv/blobs"}, 604_800),
    ],
)
def test_files_live_from_the_submission_on_and_never_shorter_than_the_record(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], life_s: int
) -> None:
    expiries: dict[str, float] = {}
    put = worker_runtime.blobs.put

    def spy(name: str, data: bytes, expires_at: float) -> None:
        expiries[name.rpartition("output:")[2]] = expires_at
        put(name, data, expires_at)

    worker_runtime.settings = Settings(**settings)
    monkeypatch.setattr(worker_runtime.blobs, "put", spy)
    record = finished(worker_runtime)
    assert record.files_expire_at == pytest.approx(record.created_at + life_s, abs=1)
    assert {expiries[name] for name in ("0", "1", "map")} == {record.files_expire_at}
    sizes = sum(picture.file_size for picture in record.pictures)
    assert worker_runtime.redis.hget("outputs:bytes", "total") == str(sizes).encode()


class StubFilter:
    """A stub classifier with a fixed score."""

    def __init__(self, score: float) -> None:
        self._score = score

    def score(self, picture: Image.Image) -> float:
        assert picture.size == (100, 60)
        return self._score


@pytest.mark.parametrize(("score", "status"), [(0.7, Status.FAILED), (0.69, Status.COMPLETED)])
def test_the_content_filters_threshold_decides(
    worker_runtime: Runtime, score: float, status: Status
) -> None:
    settings = Settings(content_filter="any", content_filter_threshold=0.7)
    worker_runtime.settings = settings
    worker_runtime.content_filter = StubFilter(score)  # type: ignore[assignment]
    record = ended(worker_runtime)
    assert record.status is status
    if status is Status.FAILED:
        assert (record.error, record.error_status) == (ContentWithheld.sentence, 400)
        assert record.outputs == ()
        assert worker_runtime.redis.keys(f"blob:{ID}:*") == []


def test_a_missing_content_filter_lets_no_picture_pass(
    worker_runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    worker_runtime.settings = Settings(content_filter="any")
    record = ended(worker_runtime)
    assert (record.status, record.error) == (Status.FAILED, "Internal error")
    assert worker_runtime.redis.keys(f"blob:{ID}:*") == []
    assert "the content filter is configured but not loaded" in caplog.text


def test_the_content_filter_scores_every_picture_and_the_highest_score_decides(
    worker_runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    class StrictFilter(StubFilter):
        def score(self, picture: Image.Image) -> float:
            seen.append(picture)
            return len(seen) * 0.4

    seen: list[Image.Image] = []
    caplog.set_level("INFO", "worker.finish")
    worker_runtime.settings = Settings(content_filter="any", content_filter_threshold=0.8)
    worker_runtime.content_filter = StrictFilter(0)  # type: ignore[assignment]
    assert ended(worker_runtime).error == ContentWithheld.sentence
    assert seen[0].tobytes() != seen[1].tobytes()
    assert caplog.messages == [
        f"request {ID}: the content filter gives picture 0 0.400",
        f"request {ID}: the content filter gives picture 1 0.800",
    ]


def test_the_outputs_are_described_in_the_record(worker_runtime: Runtime) -> None:
    record = finished(worker_runtime, image_format="png")
    for number, made in enumerate(record.outputs):
        data = worker_runtime.blobs.get(f"{ID}:output:{number}")
        assert data is not None
        assert made == Output(
            file_name=f"{number}.png",
            content_type="image/png",
            file_size=len(data),
            width=100,
            height=60,
            seed=9 + number,
            sha256=hashlib.sha256(data).hexdigest(),
            pixels_sha256=hashlib.sha256(opened(data).tobytes()).hexdigest(),
        )
        pixels = astronaut((112, 64)).rotate(number * 90).crop((6, 2, 106, 62))
        assert opened(data).tobytes() == pixels.tobytes()
        blob_ttl_s = cast(int, worker_runtime.redis.ttl(f"blob:{ID}:output:{number}"))
        assert abs(blob_ttl_s - cast(int, worker_runtime.redis.ttl(f"req:{ID}"))) <= 1
    assert [made.seed for made in record.outputs] == [9, 10]


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_the_pixel_digest_is_of_the_decoded_file(
    worker_runtime: Runtime, image_format: str
) -> None:
    """These formats are lossy."""
    record = finished(worker_runtime, image_format=image_format, samples=1)
    [made] = record.outputs
    pixels = delivered(worker_runtime, "0").tobytes()
    assert made.pixels_sha256 == hashlib.sha256(pixels).hexdigest()
    assert made.content_type == f"image/{image_format}"


def test_a_picture_has_the_quality_of_its_request(worker_runtime: Runtime) -> None:
    sizes = []
    for quality in (20, 90):
        record = finished(worker_runtime, quality=quality, samples=1)
        sizes.append(record.outputs[0].file_size)
        worker_runtime.requests.forget(ID)
    assert sizes[0] < sizes[1] / 2


def test_a_picture_that_is_lost_is_a_failure_with_a_reason(worker_runtime: Runtime) -> None:
    record = ended(worker_runtime, lost=("pixels:1",))
    assert record.error == "Internal error: the picture was lost before it was delivered"
    assert worker_runtime.redis.keys(f"blob:{ID}:*") == []


def test_a_map_that_is_lost_is_left_out(worker_runtime: Runtime) -> None:
    """As with an older gpu worker. A request for the map alone fails."""
    record = finished(worker_runtime, lost=("map",))
    assert (len(record.outputs), record.control_map) == (2, None)
    worker_runtime.requests.forget(ID)
    record = ended(worker_runtime, lost=("map",), only_map=True)
    assert record.error == "Internal error: the control map was lost"


@pytest.mark.parametrize(("only_map", "measured"), [(False, b"1"), (True, None)])
def test_a_finished_picture_updates_the_throughput(
    worker_runtime: Runtime, only_map: bool, measured: bytes | None
) -> None:
    finished(worker_runtime, **({"only_map": True} if only_map else {}))
    assert worker_runtime.redis.hget("measured", "requests:exact") == measured


def test_a_finished_picture_is_measured_for_the_time_limit(
    worker_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    times = worker_runtime.generation_times
    monkeypatch.setattr(times, "add", lambda record: measured.append(record.id))
    finished(worker_runtime, only_map=True)
    assert measured == []
    worker_runtime.requests.forget(ID)
    finished(worker_runtime)
    assert measured == [ID]


def test_only_the_outputs_stay_after_finish(worker_runtime: Runtime) -> None:
    finished(worker_runtime)
    names = {key.decode().partition(":output:")[2] for key in worker_runtime.redis.keys("blob:*")}
    assert names == {"0", "1", "map"}


def test_a_request_that_has_ended_is_not_finished(worker_runtime: Runtime) -> None:
    finished(worker_runtime)
    before = dump(worker_runtime.redis)
    job.finish(ID)
    assert dump(worker_runtime.redis) == before


def test_a_request_for_a_map_alone_has_the_map_as_its_output(worker_runtime: Runtime) -> None:
    record = finished(worker_runtime, only_map=True)
    [made] = record.outputs
    assert (made.file_name, made.seed, made.width, made.height) == ("0.png", 0, 112, 64)
    assert record.control_map is None
    assert delivered(worker_runtime, "0").size == (112, 64)
    assert embedded(delivered(worker_runtime, "0")) is None


def test_the_maps_of_all_controls_are_delivered(worker_runtime: Runtime) -> None:
    requests, blobs = worker_runtime.requests, worker_runtime.blobs
    expires_at = requests.expiry()
    controls = (Control("canny", 0.8, 0.25, 1.0), Control("pose"), Control("tile", 0.0))
    params = replace(PARAMS, controls=controls, samples=1, image_format="png")
    requests.submit(ID, "a", params, Source(), expires_at)
    made_by = Provenance(checkpoint="stub")
    are_maps = (False, True, False)
    for stage, result in (
        (Stage.PREPARE, prepared(width=100, height=60, annotations=are_maps)),
        (Stage.GENERATE, generated(provenance=made_by)),
    ):
        requests.claim(ID, stage, "e")
        requests.advance(ID, stage, "e", result)
    blobs.put(f"{ID}:pixels:0", astronaut((112, 64)).tobytes(), expires_at)
    shades = {"map": 10, "control:1": 20, "map:2": 30, "control": 1, "map:1": 2, "control:2": 3}
    for name, shade in shades.items():
        blobs.put(f"{ID}:{name}", bytes([shade]) * (112 * 64 * 3), expires_at)
    job.finish(ID)
    record = requests.get(ID)
    assert record is not None
    assert (record.status, record.error) == (Status.COMPLETED, None)
    names = [control_map.file_name for control_map in record.control_maps]
    assert names == ["map.png", "map-1.png", "map-2.png"]
    assert record.pictures == (*record.outputs, *record.control_maps)
    for name, shade in (("map", 10), ("map-1", 20), ("map-2", 30)):
        assert delivered(worker_runtime, name).getextrema() == ((shade, shade),) * 3
    picture = delivered(worker_runtime, "0")
    text = picture.info["parameters"]
    assert (
        'ControlNet 0: "Module: canny, Weight: 0.8, Guidance Start: 0.25, Guidance End: 1", '
        'ControlNet 1: "Module: pose, Weight: 0.45, Guidance Start: 0, Guidance End: 0.5"'
    ) in text
    assert "ControlNet 2" not in text
    metadata = json.loads(embedded(picture) or "")
    assert metadata["parameters"]["controls"] == [
        {"type": "canny", "strength": 0.8, "start": 0.25, "stop": 1.0},
        {"type": "pose", "strength": 0.45, "start": 0.0, "stop": 0.5},
        {"type": "tile", "strength": 0.0, "start": 0.0, "stop": 0.5},
    ]
    assert "cn_type" not in metadata["parameters"]
    kept = {key.decode().rpartition(f"{ID}:")[2] for key in worker_runtime.redis.keys("blob:*")}
    assert kept == {"output:0", "output:map", "output:map-1", "output:map-2"}
