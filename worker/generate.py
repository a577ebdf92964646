"""The generate job: control picture to pixels, on the gpu worker. The only job that uses torch.

worker.main loads the checkpoint before any job arrives. The job writes raw RGB blobs on the
background thread, and the finish workers encode them, so that the GPU waits for neither.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image

from app import VERSION
from app.core.errors import GenerationFailed, LoraRejected
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.stage_results import GenerateResult, MapResult, StageResult
from app.core.settings import Settings
from models.device_errors import DeviceFault, device_fault
from models.errors import LoraError, ModelError
from models.geometry import generated_size, resolution_mu
from models.pipeline import Generation, make_control_map
from models.pipeline import generate as generate_pictures
from models.spec import GenerationSpec
from worker.generation_warnings import generation_warnings, map_warnings
from worker.progress import Progress
from worker.provenance import provenance
from worker.resume_state import ResumeState
from worker.runtime import Runtime
from worker.stage import DeferredWork, run_split_stage

if TYPE_CHECKING:
    from models.checkpoints import LoadedCheckpoint

log = logging.getLogger(__name__)

EXIT_DEVICE_LOST = 71


def generate(request_id: str) -> DeferredWork | None:
    """RQ job: blobs `ID:control` -> blobs `ID:pixels:i`, blobs `ID:map` (raw RGB, unless the map is
    in `ID:control` already), and the measurements in the record.

    Returns the work that does not need the device; the gpu worker runs it during the next job.
    """
    return run_split_stage(request_id, Stage.GENERATE, _generate)


def _generate(context: Runtime, record: RequestRecord, execution: str) -> Callable[[], StageResult]:
    with _exit_if_device_is_lost(context.background_thread.flush):
        store = _on_device(context, record, execution)

    def deferred() -> StageResult:
        with _exit_if_device_is_lost():
            return store()

    return deferred


@contextmanager
def _exit_if_device_is_lost(before_exit: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A CUDA context cannot recover. When the lease of the job expires, another process gets it."""
    try:
        yield
    except RuntimeError as error:
        if device_fault(error) is not DeviceFault.DEVICE_LOST:
            raise
        log.critical("the device is lost; the process exits", exc_info=True)
        before_exit()
        os._exit(EXIT_DEVICE_LOST)


def _on_device(
    context: Runtime, record: RequestRecord, execution: str
) -> Callable[[], StageResult]:
    """Returns the work that does not need the device."""
    if context.checkpoint is None:
        raise RuntimeError("the gpu worker has no checkpoint loaded")
    spec = spec_of(record, context.settings)
    are_maps = record.are_maps
    if are_maps is None:
        raise GenerationFailed(
            "controls: a worker of an older version has prepared the request; please send it again"
        )
    blobs = context.prefetch.control_pictures(record.id, len(are_maps))
    if blobs is None:
        raise GenerationFailed("Internal error: the control picture was lost")
    pictures = [Image.frombytes("RGB", (spec.width, spec.height), blob) for blob in blobs]
    context.background_thread.start(context.prefetch.load_next)
    throughput = context.throughput.read(context.checkpoint.checkpoint.name)
    predicted_s = throughput.to_end_s(spec.profile, record.best_load, _device_name(context))
    progress = Progress(context, record, execution)
    resume_state = ResumeState(context, record, execution, _source(context.checkpoint, spec))
    try:
        if record.only_map:
            return _map_only(context, record, pictures[0])
        with context.meter.working():
            generation = generate_pictures(
                context.checkpoint,
                spec,
                pictures,
                progress.on_step,
                resume_state,
                annotated=are_maps,
                on_prediction=progress.on_prediction,
            )
    except SystemExit:  # the grace period is over
        resume_state.save()
        raise
    except LoraError as error:
        raise LoraRejected(str(error)) from error
    except ModelError as error:
        raise GenerationFailed(str(error)) from error
    inference_s = resume_state.seconds
    return partial(
        _store, context, record, spec, progress, resume_state, generation, inference_s, predicted_s
    )


def _store(
    context: Runtime,
    record: RequestRecord,
    spec: GenerationSpec,
    progress: Progress,
    resume_state: ResumeState,
    generation: Generation,
    inference_s: float,
    predicted_s: float | None,
) -> GenerateResult:
    assert context.checkpoint is not None
    progress.finish()
    resume_state.finish()
    for index, is_map in enumerate(record.are_maps or ()):
        if not is_map:
            _store_map(context, record, index, generation.control_maps[index])
    return GenerateResult(
        inference_s=inference_s,
        evaluations=generation.evaluations,
        controlled=generation.controlled,
        profile=generation.profile,
        provenance=provenance(context.checkpoint, spec),
        predicted_s=predicted_s,
        generation_warnings=generation_warnings(record, generation),
        device=_device_name(context),
    )


def _device_name(context: Runtime) -> str | None:
    device = context.meter.device
    return None if device is None else device.name


def _map_only(
    context: Runtime, record: RequestRecord, picture: Image.Image
) -> Callable[[], MapResult]:
    """Run only the detector."""
    assert context.checkpoint is not None
    started = time.perf_counter()
    params = record.params
    thresholds = params.canny_low, params.canny_high
    control_map = make_control_map(context.checkpoint, params.cn_type, picture, *thresholds)
    seconds = time.perf_counter() - started

    def store() -> MapResult:
        _store_map(context, record, 0, control_map)
        return MapResult(seconds, map_warnings(record, [control_map]))

    return store


def _store_map(
    context: Runtime, record: RequestRecord, index: int, control_map: Image.Image
) -> None:
    name = keys.map_blob(record.id, index)
    context.blobs.put(name, control_map.tobytes(), record.expires_at)


def _source(checkpoint: LoadedCheckpoint, spec: GenerationSpec) -> str:
    """Everything that recorded evaluations depend on and that may differ on another worker. The
    version counts, because its samplers may evaluate the model at other points. LoRAs cannot
    differ: a worker applies only files with the sums in the record."""
    profile = checkpoint.networks.profile(spec.profile)
    return f"{VERSION} {checkpoint.checkpoint.name} {profile} {checkpoint.dtype} mu {spec.mu}"


def spec_of(record: RequestRecord, settings: Settings) -> GenerationSpec:
    """The GenerationSpec of a prepared request; settings supply the values it leaves open."""
    params, mu = record.params, settings.mu
    assert record.width is not None
    assert record.height is not None
    width, height = generated_size((record.width, record.height))
    return GenerationSpec(
        prompt=params.prompt,
        control=params.cn_type,
        width=width,
        height=height,
        strength=params.cn_strength,
        start=params.cn_start,
        stop=params.cn_stop,
        canny_low=params.canny_low,
        canny_high=params.canny_high,
        controls=params.controls,
        loras=params.loras,
        guidance=params.guidance,
        steps=params.steps,
        sampler=params.sampler,
        schedule=params.scheduler,
        seed=params.seed,
        samples=params.samples,
        mu=resolution_mu((width, height)) if mu == "auto" else float(mu),
        profile=params.profile or settings.profile,
    )
