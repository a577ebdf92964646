"""The gpu job around the mathematics: what goes in, what is kept, what a failed model becomes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app import VERSION
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.settings import Settings
from models.errors import NonFiniteLatents
from models.evaluation_log import Made, Memory
from models.geometry import resolution_mu
from models.pipeline import Generation, OnSeen, OnStep
from models.spec import GenerationSpec
from worker import generate as job
from worker.runtime import Runtime

pytestmark = pytest.mark.torch

ID = "e" * 32
PARAMS = {
    "prompt": "x",
    "cn_type": "canny",
    "cn_strength": 0.7,
    "cn_stop": 0.6,
    "guidance": 4.0,
    "steps": 17,
    "sampler": "deis",
    "scheduler": "beta",
    "seed": 9,
    "samples": 2,
}


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    """A gpu worker whose next job is a prepared request of 100x60."""
    made = worker_runtime
    made.checkpoint = SimpleNamespace(  # type: ignore[assignment]  # all that is looked at here
        checkpoint=SimpleNamespace(name="stub"),
        networks=SimpleNamespace(profile=lambda asked: asked),
        dtype="float32",
        device=torch.device("cpu"),
        weights={"base": "owner/name@commit"},
    )
    expires_at = made.requests.expiry()
    made.requests.submit(ID, "a", PARAMS, {}, expires_at)
    made.requests.claim(ID, Stage.PREPARE, "e1")
    made.requests.advance(ID, Stage.PREPARE, "e1", {"width": 100, "height": 60})
    made.blobs.put(f"{ID}:control", Image.new("RGB", (112, 64), "red").tobytes(), expires_at)
    return made


def record(context: Runtime) -> RequestRecord:
    found = context.requests.get(ID)
    assert found is not None
    return found


def run() -> None:
    """The job to its end, as on a gpu worker that has no other."""
    rest = job.generate(ID)
    if rest is not None:
        rest()


def model(monkeypatch: pytest.MonkeyPatch, generate: Any) -> None:
    monkeypatch.setattr(job, "generate_pictures", generate)


def test_the_model_gets_the_request_and_its_pixels_are_kept(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[GenerationSpec] = []

    def generate(
        _loaded: Any,
        spec: GenerationSpec,
        picture: Image.Image,
        on_step: OnStep,
        memory: Memory,
        *,
        annotated: bool,
        on_seen: OnSeen | None,
    ) -> Generation:
        assert not annotated
        assert on_seen is None
        asked.append(spec)
        assert picture.getpixel((0, 0)) == (255, 0, 0)
        on_step(5, 34)
        assert (record(context).step, record(context).steps) == (5, 34)
        made = tuple(Made(np.full((64, 112, 3), shade, np.uint8), 17, 10) for shade in (1, 2))
        for index, each in enumerate(made):
            memory.after_picture(index, each)
        return Generation(made, picture, "exact")

    model(monkeypatch, generate)
    run()
    assert asked == [
        GenerationSpec("x", "canny", 112, 64, 0.7, 0.6, 4.0, 17, "deis", "beta", 9, 2, 1.15)
    ]
    assert context.blobs.get(f"{ID}:pixels:1") == bytes([2]) * (64 * 112 * 3)
    assert (record(context).evaluations, record(context).controlled) == (34, 20)
    assert record(context).profile == "exact"
    assert record(context).inference_s is not None
    assert context.blobs.get(f"{ID}:map") == Image.new("RGB", (112, 64), "red").tobytes()
    made_with = record(context).made_with
    assert made_with["weights"] == {"base": "owner/name@commit"}
    assert made_with["versions"]["flux-controlnet-server"] == VERSION
    assert context.jobs.queue("finish").job_ids == [f"{ID}-finish"]


def test_a_map_alone_asks_for_no_picture(context: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(_loaded: Any, control: str, picture: Image.Image) -> Image.Image:
        assert (control, picture.size) == ("canny", (112, 64))
        return Image.new("RGB", picture.size, "blue")

    monkeypatch.setattr(job, "make_control_map", make)
    context.requests.forget(ID)
    context.requests.submit(ID, "a", {**PARAMS, "only_map": True}, {}, context.requests.expiry())
    context.requests.claim(ID, Stage.PREPARE, "e1")
    context.requests.advance(ID, Stage.PREPARE, "e1", {"width": 100, "height": 60})
    run()
    assert context.blobs.get(f"{ID}:map") == Image.new("RGB", (112, 64), "blue").tobytes()
    assert record(context).made_with == {}
    assert context.jobs.queue("finish").job_ids == [f"{ID}-finish"]


def test_latents_that_are_not_finite_fail_with_sampler_schedule_and_step(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(*_: Any, **__: Any) -> Generation:
        raise NonFiniteLatents("deis", "beta", 4, 17)

    model(monkeypatch, generate)
    run()
    failed = record(context)
    assert failed.status is Status.FAILED
    assert failed.error == (
        "the latents became non-finite with sampler deis, scheduler beta at step 4 of 17"
    )
    assert failed.error_status == 500


def test_a_lost_device_ends_the_process_and_not_the_request(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Left(BaseException):
        pass

    def leave(code: int) -> None:
        assert code == 71
        raise Left

    def generate(*_: Any, **__: Any) -> Generation:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    model(monkeypatch, generate)
    monkeypatch.setattr(job.os, "_exit", leave)
    with pytest.raises(Left):
        run()
    assert record(context).status is Status.PROCESSING


def test_a_request_that_was_taken_over_is_left_at_the_next_step(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(*given: Any, **_: Any) -> Generation:
        on_step: OnStep = given[3]
        context.requests.claim(ID, Stage.GENERATE, "other worker")
        on_step(1, 34)
        raise AssertionError("it went on")

    model(monkeypatch, generate)
    run()
    assert record(context).status is Status.PROCESSING
    assert context.jobs.queue("finish").job_ids == []


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(("version", "goes_on"), [(VERSION, True), ("99.0.0", False)])
def test_what_a_dead_worker_kept_is_for_workers_of_its_version_only(
    monkeypatch: pytest.MonkeyPatch, version: str, goes_on: bool
) -> None:
    """The samplers of another version may ask the model other questions."""

    class Killed(BaseException):
        pass

    def dies(*given: Any, **_: Any) -> Generation:
        given[4].after_picture(0, Made(np.zeros((64, 112, 3), np.uint8), 17, 10))
        raise Killed

    def looks(*given: Any, **_: Any) -> Generation:
        found.append(given[4].made(0) is not None)
        raise NonFiniteLatents("deis", "beta", 4, 17)

    found: list[bool] = []
    model(monkeypatch, dies)
    with pytest.raises(Killed):
        run()
    monkeypatch.setattr(job, "VERSION", version)
    model(monkeypatch, looks)
    run()
    assert found == [goes_on]


def test_mu_auto_follows_the_size(context: Runtime) -> None:
    assert job.spec_of(record(context), Settings(mu="auto")).mu == resolution_mu((112, 64))
    assert job.spec_of(record(context), Settings(mu=0.63)).mu == 0.63


@pytest.mark.parametrize(
    ("asked", "used"), [({}, "fast"), ({"profile": ""}, "fast"), ({"profile": "exact"}, "exact")]
)
def test_the_workers_profile_is_for_requests_that_name_none(
    context: Runtime, asked: dict[str, str], used: str
) -> None:
    params = {**PARAMS, **asked}
    spec = job.spec_of(replace(record(context), params=params), Settings(profile="fast"))
    assert spec.profile == used


def test_the_profile_that_was_served_is_kept(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(
        _loaded: Any, spec: GenerationSpec, picture: Any, *_: Any, **__: Any
    ) -> Generation:
        assert spec.profile == "exact"
        return Generation((Made(np.zeros((64, 112, 3), np.uint8), 1, 1),), picture, "fast")

    model(monkeypatch, generate)
    run()
    assert record(context).profile == "fast"


def test_a_lost_control_picture_is_a_failure_with_a_reason(context: Runtime) -> None:
    context.blobs.delete(f"{ID}:control")
    run()
    assert record(context).error == "Internal error: the control picture was lost"


def test_a_worker_without_a_model_makes_nothing(
    context: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    context.checkpoint = None
    run()
    assert (record(context).status, record(context).error) == (Status.FAILED, "Internal error")
    assert "the gpu worker has no checkpoint loaded" in caplog.text


def makes(picture: Image.Image, *shades: int) -> Generation:
    made = tuple(Made(np.full((64, 112, 3), shade, np.uint8), 17, 10) for shade in shades)
    return Generation(made, picture, "exact")


def test_what_was_measured_says_how_long_it_will_take(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(monkeypatch, lambda *given, **_: makes(given[2], 1))
    context.requests.forget(ID)
    context.requests.submit(ID, "a", PARAMS, {}, context.requests.expiry())
    context.requests.claim(ID, Stage.PREPARE, "e1")
    prepared = {"width": 100, "height": 60, "work": 30.0}
    context.requests.advance(ID, Stage.PREPARE, "e1", prepared)
    context.redis.hset("measured", mapping={"unit_s:exact": 0.5, "delivery_s": 2, "work": 1})
    run()
    assert record(context).predicted_s == 17.0


def test_nothing_is_predicted_before_anything_was_measured(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(monkeypatch, lambda *given, **_: makes(given[2], 1))
    run()
    assert record(context).predicted_s is None


def test_the_next_control_picture_is_read_meanwhile(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = "f" * 32
    context.blobs.put(f"{following}:control", b"the next one", context.requests.expiry())
    context.jobs.enqueue(following, Stage.GENERATE)
    model(monkeypatch, lambda *given, **_: makes(given[2], 1))
    run()
    context.background_thread.settle()
    context.blobs.delete(f"{following}:control")
    assert context.prefetch.control(following) == b"the next one"


class Answers:
    """In the place of a tape."""

    def take(self) -> list[bytes]:
        return [b"answer"]


def test_answers_are_kept_with_what_they_depend_on(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.settings = context.settings.model_copy(update={"resume_every_s": 1e-9})

    def generate(*given: Any, **_: Any) -> Generation:
        given[4].after_step(0, Answers())
        return makes(given[2], 1)

    model(monkeypatch, generate)
    run()
    assert record(context).kept["source"] == f"{VERSION} stub exact float32 mu 1.15"


@pytest.mark.parametrize("annotated", [True, False])
def test_a_map_that_prepare_has_made_is_not_stored_again(
    context: Runtime, monkeypatch: pytest.MonkeyPatch, annotated: bool
) -> None:
    asked: list[bool] = []

    def generate(*given: Any, annotated: bool, **_: Any) -> Generation:
        asked.append(annotated)
        return makes(given[2], 1)

    model(monkeypatch, generate)
    context.redis.hset(f"req:{ID}", "annotated", "true" if annotated else "false")
    run()
    assert asked == [annotated]
    assert (context.blobs.get(f"{ID}:map") is None) is annotated


def test_a_device_that_is_lost_is_left_when_the_last_picture_is_stored(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Left(BaseException):
        pass

    def leave(_code: int) -> None:
        done.append("left")
        raise Left

    def generate(*_: Any, **__: Any) -> Generation:
        context.background_thread.settle()
        context.background_thread.leave(lambda: done.append("stored"))
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    done: list[str] = []
    model(monkeypatch, generate)
    monkeypatch.setattr(job.os, "_exit", leave)
    with pytest.raises(Left):
        run()
    assert done == ["stored", "left"]
