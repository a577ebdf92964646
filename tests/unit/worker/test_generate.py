"""The generate job around the model: its input, what it stores, and how it reports failures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app import VERSION
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.types import GenerationParameters, Source
from app.core.requests.work import ExpectedWork
from app.core.settings import Settings
from models.errors import LoraError, NonFiniteLatents
from models.evaluation_log import GeneratedImage, ResumeStore
from models.geometry import resolution_mu
from models.pipeline import Generation, OnPrediction, OnStep
from models.spec import Control, GenerationSpec, Lora
from models.text import PromptCut
from tests.support.records import SOURCE, prepared
from worker import generate as job
from worker.meter import Device
from worker.resume_state import ResumeState
from worker.runtime import Runtime

pytestmark = pytest.mark.torch

ID = "e" * 32
PARAMS = GenerationParameters(
    prompt="x",
    cn_type="canny",
    cn_strength=0.7,
    cn_stop=0.6,
    guidance=4.0,
    steps=17,
    sampler="deis",
    scheduler="beta",
    seed=9,
    samples=2,
)


@pytest.fixture
def context(worker_runtime: Runtime) -> Runtime:
    """A gpu worker whose next job is a prepared request of 100x60."""
    context = worker_runtime
    context.checkpoint = SimpleNamespace(  # type: ignore[assignment]  # only what the job reads
        checkpoint=SimpleNamespace(name="stub", all_annotators=tuple),
        networks=SimpleNamespace(profile=lambda asked: asked),
        dtype="float32",
        device=torch.device("cpu"),
        weights={"base": "owner/name@commit"},
    )
    expires_at = context.requests.expiry()
    context.requests.submit(ID, "a", PARAMS, SOURCE, expires_at)
    context.requests.claim(ID, Stage.PREPARE, "e1")
    context.requests.advance(ID, Stage.PREPARE, "e1", prepared(width=100, height=60))
    context.blobs.put(f"{ID}:control", Image.new("RGB", (112, 64), "red").tobytes(), expires_at)
    return context


def record(context: Runtime) -> RequestRecord:
    stored = context.requests.get(ID)
    assert stored is not None
    return stored


def run() -> None:
    """Run the job and its deferred work, as a gpu worker without a next job does."""
    deferred = job.generate(ID)
    if deferred is not None:
        deferred()


def model(monkeypatch: pytest.MonkeyPatch, generate: Any) -> None:
    monkeypatch.setattr(job, "generate_pictures", generate)


def test_the_model_gets_the_request_and_its_pixels_are_stored(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs: list[GenerationSpec] = []

    def generate(
        _loaded: Any,
        spec: GenerationSpec,
        pictures: Sequence[Image.Image],
        on_step: OnStep,
        resume_store: ResumeStore,
        *,
        annotated: Sequence[bool],
        on_prediction: OnPrediction | None,
    ) -> Generation:
        assert annotated == (False,)
        assert on_prediction is None
        specs.append(spec)
        [picture] = pictures
        assert picture.getpixel((0, 0)) == (255, 0, 0)
        on_step(5, 34)
        assert (record(context).step, record(context).steps) == (5, 34)
        generation = makes(pictures, 1, 2)
        for index, image in enumerate(generation.images):
            resume_store.after_image(index, image)
        return generation

    model(monkeypatch, generate)
    run()
    assert specs == [
        GenerationSpec(
            *("x", "canny", 112, 64),
            strength=0.7,
            stop=0.6,
            guidance=4.0,
            steps=17,
            sampler="deis",
            schedule="beta",
            seed=9,
            samples=2,
            mu=1.15,
        )
    ]
    assert context.blobs.get(f"{ID}:pixels:1") == bytes([2]) * (64 * 112 * 3)
    assert (record(context).evaluations, record(context).controlled) == (34, 20)
    assert record(context).profile == "exact"
    assert record(context).inference_s is not None
    assert context.blobs.get(f"{ID}:map") == Image.new("RGB", (112, 64), "red").tobytes()
    provenance = record(context).provenance
    assert provenance is not None
    assert provenance.weights == {"base": "owner/name@commit"}
    assert provenance.versions["flux-controlnet-server"] == VERSION
    assert context.jobs.queue("finish").job_ids == [f"{ID}-finish"]


def request_map_only(context: Runtime, **changes: Any) -> None:
    context.requests.forget(ID)
    params = replace(PARAMS, only_map=True, **changes)
    context.requests.submit(ID, "a", params, Source(), context.requests.expiry())
    context.requests.claim(ID, Stage.PREPARE, "e1")
    context.requests.advance(ID, Stage.PREPARE, "e1", prepared(width=100, height=60))


def test_a_request_for_a_map_alone_generates_no_picture(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(_loaded: Any, control: str, picture: Image.Image, low: int, high: int) -> Image.Image:
        assert (control, picture.size, low, high) == ("canny", (112, 64), 100, 200)
        return Image.new("RGB", picture.size, "blue")

    monkeypatch.setattr(job, "make_control_map", make)
    request_map_only(context)
    run()
    assert context.blobs.get(f"{ID}:map") == Image.new("RGB", (112, 64), "blue").tobytes()
    assert record(context).provenance is None
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


class Exited(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def exit_codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    def leave(code: int) -> None:
        codes.append(code)
        raise Exited

    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", leave)
    return codes


LOST: list[RuntimeError] = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasLtMatmul(`"),
    RuntimeError("Triton Error [CUDA]: unspecified launch failure"),
]


@pytest.mark.parametrize("error", LOST, ids=str)
def test_a_lost_device_ends_the_process_and_not_the_request(
    context: Runtime, monkeypatch: pytest.MonkeyPatch, exit_codes: list[int], error: RuntimeError
) -> None:
    def generate(*_: Any, **__: Any) -> Generation:
        raise error

    model(monkeypatch, generate)
    with pytest.raises(Exited):
        run()
    assert exit_codes == [71]
    assert record(context).status is Status.PROCESSING


def test_a_device_lost_in_a_detector_ends_the_process(
    context: Runtime, monkeypatch: pytest.MonkeyPatch, exit_codes: list[int]
) -> None:
    def make(*_: Any) -> Image.Image:
        raise LOST[0]

    monkeypatch.setattr(job, "make_control_map", make)
    request_map_only(context)
    with pytest.raises(Exited):
        run()
    assert exit_codes == [71]


def test_a_device_lost_while_a_job_is_put_back_ends_the_process(
    context: Runtime, monkeypatch: pytest.MonkeyPatch, exit_codes: list[int]
) -> None:
    """Saving its state reads the device."""

    def generate(*args: Any, **_: Any) -> Generation:
        context.settings = context.settings.model_copy(update={"resume_every_s": 60.0})
        args[4].after_step(0, SimpleNamespace(drain=drain))
        raise SystemExit

    def drain() -> list[bytes]:
        raise LOST[0]

    model(monkeypatch, generate)
    with pytest.raises(Exited):
        run()
    assert exit_codes == [71]


@pytest.mark.usefixtures("context")
def test_a_device_lost_in_the_deferred_work_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, exit_codes: list[int]
) -> None:
    def finish(_: Any) -> None:
        raise LOST[0]

    model(monkeypatch, lambda *args, **_: makes(args[2], 1, 2))
    deferred = job.generate(ID)
    assert deferred is not None
    monkeypatch.setattr(ResumeState, "finish", finish)
    with pytest.raises(Exited):
        deferred()
    assert exit_codes == [71]


def test_a_kernel_that_the_card_cannot_run_fails_the_request_alone(
    context: Runtime, monkeypatch: pytest.MonkeyPatch, exit_codes: list[int]
) -> None:
    def generate(*_: Any, **__: Any) -> Generation:
        raise torch.AcceleratorError("CUDA error: invalid configuration argument")

    model(monkeypatch, generate)
    run()
    assert exit_codes == []
    assert (record(context).status, record(context).error) == (Status.FAILED, "Internal error")


def test_a_request_taken_over_by_another_worker_stops_at_the_next_step(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(*args: Any, **_: Any) -> Generation:
        on_step: OnStep = args[3]
        context.requests.claim(ID, Stage.GENERATE, "other worker")
        on_step(1, 34)
        raise AssertionError("the job did not stop")

    model(monkeypatch, generate)
    run()
    assert record(context).status is Status.PROCESSING
    assert context.jobs.queue("finish").job_ids == []


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(("version", "resumed"), [(VERSION, True), ("99.0.0", False)])
def test_resume_state_is_used_by_workers_of_the_same_version_only(
    monkeypatch: pytest.MonkeyPatch, version: str, resumed: bool
) -> None:
    """The samplers of another version may evaluate the model at other points."""

    class Killed(BaseException):
        pass

    def dies(*args: Any, **_: Any) -> Generation:
        args[4].after_image(0, GeneratedImage(np.zeros((64, 112, 3), np.uint8), 17, 10))
        raise Killed

    def looks(*args: Any, **_: Any) -> Generation:
        images_found.append(args[4].finished_image(0) is not None)
        raise NonFiniteLatents("deis", "beta", 4, 17)

    images_found: list[bool] = []
    model(monkeypatch, dies)
    with pytest.raises(Killed):
        run()
    monkeypatch.setattr(job, "VERSION", version)
    model(monkeypatch, looks)
    run()
    assert images_found == [resumed]


def test_mu_auto_follows_the_size(context: Runtime) -> None:
    assert job.spec_of(record(context), Settings(mu="auto")).mu == resolution_mu((112, 64))
    assert job.spec_of(record(context), Settings(mu=0.63)).mu == 0.63


@pytest.mark.parametrize(
    ("asked", "used"), [({}, "fast"), ({"profile": ""}, "fast"), ({"profile": "exact"}, "exact")]
)
def test_requests_without_a_profile_get_the_workers_profile(
    context: Runtime, asked: dict[str, str], used: str
) -> None:
    params = replace(PARAMS, **asked)
    spec = job.spec_of(replace(record(context), params=params), Settings(profile="fast"))
    assert spec.profile == used


def test_the_profile_that_was_served_is_recorded(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(
        _loaded: Any, spec: GenerationSpec, pictures: Any, *_: Any, **__: Any
    ) -> Generation:
        assert spec.profile == "exact"
        return Generation(
            (GeneratedImage(np.zeros((64, 112, 3), np.uint8), 1, 1),), tuple(pictures), "fast"
        )

    model(monkeypatch, generate)
    run()
    assert record(context).profile == "fast"


def test_the_warnings_are_recorded(context: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = replace(
        makes([Image.new("RGB", (112, 64), "red")], 1), prompt_cuts=(PromptCut("T5", 48, 60),)
    )
    model(monkeypatch, lambda *_, **__: generation)
    run()
    assert [warning.code for warning in record(context).warnings] == ["prompt_cut"]


def test_the_warning_about_a_map_alone_is_recorded(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_map_only(context, cn_type="pose")
    monkeypatch.setattr(job, "make_control_map", lambda *_: Image.new("RGB", (112, 64)))
    run()
    assert [warning.code for warning in record(context).warnings] == ["empty_pose_map"]


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


def makes(pictures: Sequence[Image.Image], *shades: int) -> Generation:
    images = tuple(
        GeneratedImage(np.full((64, 112, 3), shade, np.uint8), 17, 10) for shade in shades
    )
    return Generation(images, tuple(pictures), "exact")


def test_the_predicted_time_comes_from_the_measured_throughput(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(monkeypatch, lambda *args, **_: makes(args[2], 1))
    context.requests.forget(ID)
    context.requests.submit(ID, "a", PARAMS, SOURCE, context.requests.expiry())
    context.requests.claim(ID, Stage.PREPARE, "e1")
    result = prepared(width=100, height=60, work=30.0)
    context.requests.advance(ID, Stage.PREPARE, "e1", result)
    context.redis.hset("measured", mapping={"unit_s:exact": 0.5, "delivery_s": 2, "work": 1})
    run()
    assert record(context).predicted_s == 17.0


def test_the_predicted_time_is_that_of_the_load_on_this_device(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(monkeypatch, lambda *args, **_: makes(args[2], 1))
    context.meter.device = Device("demo", "a card", lambda: (0, 0))
    context.requests.forget(ID)
    expected = ExpectedWork(work=3.0, load=10.0, profile="exact")
    expiry = context.requests.expiry()
    context.requests.submit(ID, "a", PARAMS, SOURCE, expiry, expected=expected)
    context.requests.claim(ID, Stage.PREPARE, "e1")
    result = prepared(width=100, height=60, work=3.0, load=20.0)
    context.requests.advance(ID, Stage.PREPARE, "e1", result)
    assert context.checkpoint is not None
    measured = keys.measured_requests(context.checkpoint.checkpoint.name, "exact")
    for device, seconds in (("a card", 40), ("another", 400)):
        context.redis.lpush(measured, f"20 {seconds} 2 {device}")
    run()
    assert record(context).predicted_s == pytest.approx(42, rel=0.01)
    assert record(context).device == "a card"


def test_no_time_is_predicted_before_any_request_was_measured(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(monkeypatch, lambda *args, **_: makes(args[2], 1))
    run()
    assert record(context).predicted_s is None


def test_the_next_control_picture_is_prefetched_during_the_job(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = "f" * 32
    expires_at = context.requests.expiry()
    context.requests.submit(following, "a", PARAMS, SOURCE, expires_at)
    context.blobs.put(f"{following}:control", b"the next one", expires_at)
    context.jobs.enqueue(following, Stage.GENERATE)
    model(monkeypatch, lambda *args, **_: makes(args[2], 1))
    run()
    context.background_thread.flush()
    context.blobs.delete(f"{following}:control")
    assert context.prefetch.control_pictures(following, 1) == [b"the next one"]


CONTROLS = (Control("canny", 0.8, 0.1, 0.9), Control("pose"))


def request_controls(context: Runtime, annotations: tuple[bool, ...] | None) -> None:
    """The next job is of a request with two controls, whose pictures are red and green."""
    context.requests.forget(ID)
    expires_at = context.requests.expiry()
    params = replace(PARAMS, controls=CONTROLS, canny_low=20, canny_high=60, samples=1)
    context.requests.submit(ID, "a", params, SOURCE, expires_at)
    context.requests.claim(ID, Stage.PREPARE, "e1")
    result = prepared(width=100, height=60, annotations=annotations)
    context.requests.advance(ID, Stage.PREPARE, "e1", result)
    green = Image.new("RGB", (112, 64), (0, 255, 0))
    context.blobs.put(f"{ID}:control:1", green.tobytes(), expires_at)


def test_every_control_gets_its_picture_and_only_made_maps_are_stored(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_controls(context, (True, False))

    def generate(
        _loaded: Any,
        spec: GenerationSpec,
        pictures: Sequence[Image.Image],
        *_: Any,
        annotated: Sequence[bool],
        **__: Any,
    ) -> Generation:
        assert (spec.controls, spec.canny_low, spec.canny_high) == (CONTROLS, 20, 60)
        assert annotated == (True, False)
        colours = [picture.getpixel((0, 0)) for picture in pictures]
        assert colours == [(255, 0, 0), (0, 255, 0)]
        return makes([picture.convert("L").convert("RGB") for picture in pictures], 1)

    model(monkeypatch, generate)
    run()
    assert record(context).error is None
    assert context.blobs.get(f"{ID}:map") is None
    gray = Image.new("RGB", (112, 64), (0, 255, 0)).convert("L").convert("RGB")
    assert context.blobs.get(f"{ID}:map:1") == gray.tobytes()


def test_controls_that_an_older_worker_has_prepared_make_no_wrong_picture(
    context: Runtime,
) -> None:
    request_controls(context, None)
    run()
    assert record(context).error == (
        "controls: a worker of an older version has prepared the request; please send it again"
    )


class StubLog:
    """Stands for an EvaluationLog."""

    def drain(self) -> list[bytes]:
        return [b"answer"]


def test_evaluations_are_saved_with_their_source(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.settings = context.settings.model_copy(update={"resume_every_s": 1e-9})

    def generate(*args: Any, **_: Any) -> Generation:
        args[4].after_step(0, StubLog())
        return makes(args[2], 1)

    model(monkeypatch, generate)
    run()
    assert record(context).saved_work.source == f"{VERSION} stub exact float32 mu 1.15"


@pytest.mark.parametrize("annotated", [True, False])
def test_a_map_that_prepare_has_made_is_not_stored_again(
    context: Runtime, monkeypatch: pytest.MonkeyPatch, annotated: bool
) -> None:
    flags: list[Sequence[bool]] = []

    def generate(*args: Any, annotated: Sequence[bool], **_: Any) -> Generation:
        flags.append(annotated)
        return makes(args[2], 1)

    model(monkeypatch, generate)
    context.redis.hset(f"req:{ID}", "annotated", "true" if annotated else "false")
    run()
    assert flags == [(annotated,)]
    assert (context.blobs.get(f"{ID}:map") is None) is annotated


def test_a_worker_that_lost_its_device_stores_the_last_picture_before_it_exits(
    context: Runtime, monkeypatch: pytest.MonkeyPatch, exit_codes: list[int]
) -> None:
    def generate(*_: Any, **__: Any) -> Generation:
        context.background_thread.flush()
        context.background_thread.defer(lambda: codes_at_store.append(list(exit_codes)))
        raise LOST[0]

    codes_at_store: list[list[int]] = []
    model(monkeypatch, generate)
    with pytest.raises(Exited):
        run()
    assert (codes_at_store, exit_codes) == ([[]], [71])


def test_loras_reach_the_model_and_a_refused_one_fails_the_request(
    context: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = Lora("ink", 0.5, "ab")
    context.requests.forget(ID)
    params = replace(PARAMS, loras=(lora,))
    context.requests.submit(ID, "a", params, SOURCE, context.requests.expiry())
    context.requests.claim(ID, Stage.PREPARE, "e1")
    context.requests.advance(ID, Stage.PREPARE, "e1", prepared(width=100, height=60))

    def refuse(_loaded: Any, spec: GenerationSpec, *_: Any, **__: Any) -> Generation:
        assert spec.loras == (lora,)
        raise LoraError("ink", "the file is a DoRA")

    model(monkeypatch, refuse)
    run()
    failed = record(context)
    assert (failed.status, failed.error_status) == (Status.FAILED, 422)
    assert failed.error == "LoRA ink cannot be applied: the file is a DoRA"
