"""The job that decodes, on a cpu worker: from the file of the picture that the client named as
`image` (or as `control_image`) to an RGB picture of the size that will be generated.

Never imports torch. Runs in a work horse of its own with bounded memory and time, so that a
decode bomb ends nothing but its own request.
"""

from __future__ import annotations

import resource
from functools import partial

from PIL import Image

from app.core.accounts.credits import cost_of
from app.core.errors import ImageRejected
from app.core.images.data_uri import decode_base64
from app.core.images.decode import open_picture
from app.core.images.encode import fit
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from models.controls import make_plain_map
from models.evaluations import evaluations_of
from models.geometry import MAX_SIDE, Size, fit_within, generated_size, work_units
from worker.map_file import store_early
from worker.picture_field import name_field, picture_field
from worker.runtime import Runtime, runtime
from worker.stage import Fields, LostClaim, fail, run_stage
from worker.time_limit import time_limit

_ADDRESS_SPACE = 4 * 1024**3  # twice what the worst 64 megapixels were seen to take
# What a decoder may take: several times what the slowest format needs, so that a loaded machine
# refuses no sound picture; with the slowest download less than the job may.
_DECODE_S = 3.0
_DECODE_S_PER_MEGAPIXEL = 0.5
_MAX_DECODE_S = 45.0


def prepare(request_id: str) -> None:
    """RQ job: record -> blob `ID:control` (raw RGB: the control map where that needs no detector,
    else the picture), the target size and its cost in the record."""
    _bound_memory()
    if run_stage(request_id, Stage.PREPARE, _prepare):
        runtime().blobs.delete(keys.source_blob(request_id))
        store_early(runtime(), request_id)


def _bound_memory() -> None:
    """For the rest of this process; a tighter bound that is there already stays."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    bound = _ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(_ADDRESS_SPACE, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def _prepare(context: Runtime, record: RequestRecord, execution: str) -> Fields:
    with name_field(record):
        picture = _picture(context, record, execution)
    target = _target_size(context, record, picture)
    work = _work(record, target)
    _charge(context, record, execution, work)
    generated = generated_size(target)
    control_map: Image.Image | None
    if picture_field(record) == "control_image":
        # One of the generated size has its rim already: such are the maps that we hand out.
        control = control_map = (
            picture if picture.size == generated else fit(picture, target, generated)
        )
    else:
        control = fit(picture, target, generated)
        control_map = make_plain_map(record.params["cn_type"], control, generated)
    stored = control_map or control
    context.blobs.put(keys.control_blob(record.id), stored.tobytes(), record.expires_at)
    return {
        "width": target[0],
        "height": target[1],
        "work": work,
        "profile": record.params.get("profile") or context.settings.profile,
        "annotated": control_map is not None,
    }


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
    """The picture file: from the request's own body, from worker.fetch, or an own picture."""
    if record.source["kind"] == "url":
        own = _behind_own_link(context, record.source["url"])
        if own is not None:
            return own
    data = context.blobs.get(keys.source_blob(record.id))
    if data is None:
        raise ImageRejected("image: its bytes have expired")
    return decode_base64(data) if record.source["kind"] == "base64" else data


def _behind_own_link(context: Runtime, url: str) -> bytes | None:
    """None when the URL is no valid link to a picture of ours."""
    output = context.links.own_output(url)
    if output is not None:
        return _own_output(context, *output)
    upload = context.links.own_upload(url)
    return None if upload is None else _own_upload(context, upload)


def _own_output(context: Runtime, request_id: str, name: str) -> bytes:
    """A picture we made: the usual case of a private host that the fetcher would refuse."""
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
    if params["use_input_img_dimension"]:
        allowed = context.jobs.allowed_pixels(context.settings.max_pixels)
        return fit_within(picture.size, MAX_SIDE, allowed)
    return params["custom_width"], params["custom_height"]


def _charge(context: Runtime, record: RequestRecord, execution: str, work: float) -> None:
    """Settle what was reserved at submission, an estimate if the size was not known then. Raises
    OutOfCredits."""
    cost = cost_of(work, record.price)
    if record.price and not context.requests.charge(record.id, execution, cost):
        raise LostClaim


def _work(record: RequestRecord, target: Size) -> float:
    params = record.params
    if record.only_map:
        return 0.0
    evaluations = evaluations_of(params["sampler"], params["scheduler"], params["steps"])
    return work_units(target, evaluations, params["samples"])
