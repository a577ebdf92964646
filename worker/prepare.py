"""The prepare job: decodes the client's `image` (or `control_image`) to RGB of the generated size.

Runs on a cpu worker and never imports torch. Each job runs in its own work horse with bounded
memory and time, so that a decompression bomb fails only its own request.
"""

from __future__ import annotations

import resource
from functools import partial

from PIL import Image

from app.core.accounts.credits import cost_of
from app.core.errors import ExceedsTimeLimit, ImageRejected
from app.core.images.data_uri import decode_base64
from app.core.images.decode import open_picture
from app.core.images.encode import fit
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.stage_results import PrepareResult
from app.core.requests.types import SourceKind
from models.controls import make_plain_map
from models.evaluations import evaluations_of
from models.geometry import MAX_SIDE, Size, fit_within, generated_size, work_units
from worker.map_file import store_early
from worker.picture_field import name_field, picture_field
from worker.runtime import Runtime, runtime
from worker.stage import LostClaim, fail, run_stage
from worker.time_limit import time_limit

_ADDRESS_SPACE = 4 * 1024**3  # twice what the worst 64 megapixels were seen to take
# Time limits of a decoder: several times the slowest format's time, so that a busy machine rejects
# no valid picture. Together with the slowest download they stay below the job's timeout.
_DECODE_S = 3.0
_DECODE_S_PER_MEGAPIXEL = 0.5
_MAX_DECODE_S = 45.0


def prepare(request_id: str) -> None:
    """RQ job: record -> blob `ID:control` (raw RGB: the control map if it needs no detector, else
    the picture), and the target size and its cost in the record."""
    _bound_memory()
    if run_stage(request_id, Stage.PREPARE, _prepare):
        runtime().blobs.delete(keys.source_blob(request_id))
        store_early(runtime(), request_id)


def _bound_memory() -> None:
    """Bound the address space of this process. A tighter existing limit stays."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    bound = _ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(_ADDRESS_SPACE, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def _prepare(context: Runtime, record: RequestRecord, execution: str) -> PrepareResult:
    with name_field(record):
        picture = _picture(context, record, execution)
    target = _target_size(context, record, picture)
    _check_time(context, record, target)
    work = _work(record, target)
    _charge(context, record, execution, work)
    generated = generated_size(target)
    control_map: Image.Image | None
    if picture_field(record) == "control_image":
        # A map of the generated size is padded already, as the maps in our outputs are.
        control = control_map = (
            picture if picture.size == generated else fit(picture, target, generated)
        )
    else:
        control = fit(picture, target, generated)
        params = record.params
        thresholds = params.canny_low, params.canny_high
        control_map = make_plain_map(params.cn_type, control, generated, *thresholds)
    stored = control_map or control
    context.blobs.put(keys.control_blob(record.id), stored.tobytes(), record.expires_at)
    return PrepareResult(
        width=target[0],
        height=target[1],
        work=work,
        profile=record.params.profile or context.settings.profile,
        annotated=control_map is not None,
    )


def _picture(context: Runtime, record: RequestRecord, execution: str) -> Image.Image:
    settings = context.settings
    data = _source_bytes(context, record)
    too_slow = ImageRejected(f"{picture_field(record)}: decoding it takes longer than it may")
    too_late = partial(fail, context, record.id, execution, too_slow)
    with time_limit(_DECODE_S, too_late):
        opened = open_picture(data, settings.max_image_bytes, settings.max_image_pixels)
    with time_limit(_decode_seconds(opened.pixels), too_late):
        return opened.decode()


def _decode_seconds(pixels: int) -> float:
    return min(_DECODE_S + _DECODE_S_PER_MEGAPIXEL * pixels / 1e6, _MAX_DECODE_S)


def _source_bytes(context: Runtime, record: RequestRecord) -> bytes:
    """The picture file: from the request body, from worker.fetch, or from our own outputs."""
    if record.source.url is not None:
        own_picture = _behind_own_link(context, record.source.url)
        if own_picture is not None:
            return own_picture
    data = context.blobs.get(keys.source_blob(record.id))
    if data is None:
        raise ImageRejected("image: its bytes have expired")
    return decode_base64(data) if record.source.kind == SourceKind.BASE64 else data


def _behind_own_link(context: Runtime, url: str) -> bytes | None:
    """The file behind one of our own links; None when the URL is no valid link of ours."""
    output = context.links.own_output(url)
    if output is not None:
        return _own_output(context, *output)
    upload = context.links.own_upload(url)
    return None if upload is None else _own_upload(context, upload)


def _own_output(context: Runtime, request_id: str, name: str) -> bytes:
    """An output of ours. Read from the store, as our host is often private and not fetchable."""
    data = context.blobs.get(keys.output_blob(request_id, name))
    if data is None:
        raise ImageRejected("image: the picture behind this link has expired")
    return data


def _own_upload(context: Runtime, sha256: str) -> bytes:
    data = context.blobs.get(keys.upload_blob(sha256))
    if data is None:
        raise ImageRejected("image: the uploaded picture behind this link has expired")
    return data


def _target_size(context: Runtime, record: RequestRecord, picture: Image.Image) -> Size:
    params = record.params
    if params.use_input_img_dimension:
        allowed = context.jobs.allowed_pixels(context.settings.max_pixels)
        return fit_within(picture.size, MAX_SIDE, allowed)
    return params.custom_width, params.custom_height


def _check_time(context: Runtime, record: RequestRecord, target: Size) -> None:
    """Raises ExceedsTimeLimit. The submission has checked a custom size."""
    if record.only_map or not record.params.use_input_img_dimension:
        return
    estimate = context.generation_times.estimate(record.params)
    if not estimate.in_time(target):
        raise ExceedsTimeLimit(estimate.refusal(target))


def _charge(context: Runtime, record: RequestRecord, execution: str, work: float) -> None:
    """Settle the reservation made at submission, an estimate if the size was unknown then. Raises
    OutOfCredits."""
    cost = cost_of(work, record.price)
    if record.price and not context.requests.charge(record.id, execution, cost):
        raise LostClaim


def _work(record: RequestRecord, target: Size) -> float:
    params = record.params
    if record.only_map:
        return 0.0
    evaluations = evaluations_of(params.sampler, params.scheduler, params.steps)
    return work_units(target, evaluations, params.samples)
