"""First job, on a cpu worker and the only one that touches the internet: from whatever the client
named as `image` (or as `control_image`) to an RGB picture of the size that will be generated.

Never imports torch. Runs in a work horse of its own with bounded memory and time, so that a
decode bomb ends nothing but its own request.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from PIL import Image

from app.core.addresses import AllowList
from app.core.credits import cost_of
from app.core.decoding import open_picture
from app.core.errors import ImageRejected
from app.core.fetch import fetch_image
from app.core.images import fit
from app.core.inline import decode_base64
from app.core.record import RequestRecord, Stage
from app.core.uploads import upload_blob
from models.controls import make_plain_map
from models.evaluations import evaluations_of
from models.geometry import MAX_SIDE, Size, fit_within, generated_size, work_units
from worker.map_file import store_early
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
        runtime().blobs.delete(f"{request_id}:source")
        store_early(runtime(), request_id)


def _bound_memory() -> None:
    """For the rest of this process; a tighter bound that is there already stays."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = _ADDRESS_SPACE
    if runtime().content_filter is not None:
        # Its libraries have mapped gigabytes before the fork, of which little is ever touched.
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        wanted += pages * resource.getpagesize()
    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def _prepare(context: Runtime, record: RequestRecord, execution: str) -> Fields:
    field = record.source.get("field", "image")
    with _named(field):
        picture = _picture(context, record, execution, field)
    target = _target_size(context, record, picture)
    work = _work(record, target)
    _charge(context, record, execution, work)
    generated = generated_size(target)
    control_map: Image.Image | None
    if field == "control_image":
        # One of the generated size has its rim already: such are the maps that we hand out.
        control = control_map = (
            picture if picture.size == generated else fit(picture, target, generated)
        )
    else:
        control = fit(picture, target, generated)
        control_map = make_plain_map(record.params["cn_type"], control, generated)
    stored = control_map or control
    context.blobs.put(f"{record.id}:control", stored.tobytes(), record.expires_at)
    return {
        "width": target[0],
        "height": target[1],
        "work": work,
        "profile": record.params.get("profile") or context.settings.profile,
        "annotated": control_map is not None,
    }


@contextmanager
def _named(field: str) -> Iterator[None]:
    """The texts of all readers of pictures are about `image`; here it may be another field."""
    try:
        yield
    except ImageRejected as error:
        raise ImageRejected(error.text.replace("image:", f"{field}:", 1)) from error


def _picture(context: Runtime, record: RequestRecord, execution: str, field: str) -> Image.Image:
    settings = context.settings
    data = _source_bytes(context, record)
    too_slow = ImageRejected(f"{field}: decoding it takes longer than it may")
    too_late = partial(fail, context, record.id, execution, too_slow)
    with time_limit(_DECODE_S, too_late):
        opened = open_picture(data, settings.max_image_bytes, settings.max_image_pixels)
    with time_limit(_decode_seconds(opened.pixels), too_late):
        return opened.decode()


def _decode_seconds(pixels: int) -> float:
    return min(_DECODE_S + _DECODE_S_PER_MEGAPIXEL * pixels / 1e6, _MAX_DECODE_S)


def _source_bytes(context: Runtime, record: RequestRecord) -> bytes:
    """The picture file: from the request's own body, from an earlier result, or fetched."""
    settings = context.settings
    if record.source["kind"] == "url":
        url = record.source["url"]
        own = context.links.own_output(url)
        if own is not None:
            return _own_output(context, *own)
        upload = context.links.own_upload(url)
        if upload is not None:
            return _own_upload(context, upload)
        allow = AllowList.parse(settings.fetch_allow_hosts)
        return fetch_image(url, allow, settings.max_image_bytes, settings.fetch_timeout_s)
    data = context.blobs.get(f"{record.id}:source")
    if data is None:
        raise ImageRejected("image: the uploaded bytes have expired")
    return decode_base64(data.decode()) if record.source["kind"] == "base64" else data


def _own_output(context: Runtime, request_id: str, name: str) -> bytes:
    """A picture we made: the usual case of a private host that the fetcher would refuse."""
    data = context.blobs.get(f"{request_id}:output:{name}")
    if data is None:
        raise ImageRejected("image: the picture behind this link has expired")
    return data


def _own_upload(context: Runtime, sha256: str) -> bytes:
    data = context.blobs.get(upload_blob(sha256))
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
