"""Second job, on the gpu worker and the only one that touches torch: control picture to pixels.

The checkpoint is loaded by worker.main before any job arrives. Writes raw RGB blobs; encoding is
left to the cpu workers so that the GPU never waits for it, and the writing to a thread beside it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from PIL import Image

from app import VERSION
from app.core.errors import GenerationFailed
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from app.core.settings import Settings
from models.errors import ModelError
from models.geometry import generated_size, resolution_mu
from models.pipeline import Generation, make_control_map
from models.pipeline import generate as generate_pictures
from models.spec import GenerationSpec
from worker.progress import Progress
from worker.provenance import provenance
from worker.resume_state import ResumeState
from worker.runtime import Runtime
from worker.stage import Fields, Rest, run_stage_in_two

if TYPE_CHECKING:
    from models.checkpoints import LoadedCheckpoint

log = logging.getLogger(__name__)

EXIT_DEVICE_LOST = 71


def generate(request_id: str) -> Rest | None:
    """RQ job: blob `ID:control` -> blobs `ID:pixels:i`, blob `ID:map` (raw RGB, where the map is
    not in `ID:control` already), and the measurements in the record.

    Returns what does not need the device, for the gpu worker to do while the next job has it.
    """
    return run_stage_in_two(request_id, Stage.GENERATE, _generate)


def _generate(context: Runtime, record: RequestRecord, execution: str) -> Callable[[], Fields]:
    if context.checkpoint is None:
        raise RuntimeError("the gpu worker has no checkpoint loaded")
    spec = spec_of(record, context.settings)
    control = context.prefetch.control(record.id)
    if control is None:
        raise GenerationFailed("Internal error: the control picture was lost")
    picture = Image.frombytes("RGB", (spec.width, spec.height), control)
    context.background_thread.begin(context.prefetch.read)
    predicted_s = context.throughput.read().to_end_s(spec.profile, record.work)
    progress = Progress(context, record, execution)
    memory = ResumeState(context, record, execution, _source(context.checkpoint, spec))
    try:
        if record.only_map:
            return _map_only(context, record, picture)
        with context.meter.working():
            made = generate_pictures(
                context.checkpoint,
                spec,
                picture,
                progress.on_step,
                memory,
                annotated=record.annotated,
                on_seen=progress.on_seen,
            )
    except SystemExit:  # the worker was told to leave at once
        memory.save()
        raise
    except ModelError as error:
        raise GenerationFailed(str(error)) from error
    except torch.AcceleratorError:
        # A CUDA context does not recover from this; the lease gives the job to a fresh process.
        log.critical("the device is lost; leaving", exc_info=True)
        context.background_thread.settle()
        os._exit(EXIT_DEVICE_LOST)
    return partial(_keep, context, record, spec, memory, made, memory.seconds, predicted_s)


def _keep(
    context: Runtime,
    record: RequestRecord,
    spec: GenerationSpec,
    memory: ResumeState,
    made: Generation,
    inference_s: float,
    predicted_s: float | None,
) -> Fields:
    assert context.checkpoint is not None
    memory.finish()
    if not record.annotated:
        _store_map(context, record, made.control_map)
    prediction = {} if predicted_s is None else {"predicted_s": predicted_s}
    return {
        **prediction,
        "inference_s": inference_s,
        "evaluations": made.evaluations,
        "controlled": made.controlled,
        "profile": made.profile,
        "made_with": provenance(context.checkpoint, spec),
    }


def _map_only(
    context: Runtime, record: RequestRecord, picture: Image.Image
) -> Callable[[], Fields]:
    """The detector's turn alone."""
    assert context.checkpoint is not None
    started = time.perf_counter()
    control_map = make_control_map(context.checkpoint, record.params["cn_type"], picture)
    seconds = time.perf_counter() - started

    def keep() -> Fields:
        _store_map(context, record, control_map)
        return {"inference_s": seconds}

    return keep


def _store_map(context: Runtime, record: RequestRecord, control_map: Image.Image) -> None:
    context.blobs.put(keys.map_blob(record.id), control_map.tobytes(), record.expires_at)


def _source(checkpoint: LoadedCheckpoint, spec: GenerationSpec) -> str:
    """What a picture depends on that another worker may have otherwise. The version, because
    another one's samplers may ask the model other questions."""
    profile = checkpoint.networks.profile(spec.profile)
    return f"{VERSION} {checkpoint.checkpoint.name} {profile} {checkpoint.dtype} mu {spec.mu}"


def spec_of(record: RequestRecord, settings: Settings) -> GenerationSpec:
    """The mathematics of a prepared request; the settings say what it leaves open."""
    params, mu = record.params, settings.mu
    assert record.width is not None
    assert record.height is not None
    width, height = generated_size((record.width, record.height))
    return GenerationSpec(
        prompt=params["prompt"],
        control=params["cn_type"],
        width=width,
        height=height,
        strength=params["cn_strength"],
        stop=params["cn_stop"],
        guidance=params["guidance"],
        steps=params["steps"],
        sampler=params["sampler"],
        schedule=params["scheduler"],
        seed=params["seed"],
        samples=params["samples"],
        mu=resolution_mu((width, height)) if mu == "auto" else float(mu),
        profile=params.get("profile") or settings.profile,
    )
