"""The prepare job: decodes the client's pictures (`image`, `control_image`) to RGB of the generated
size.

Runs on a cpu worker and never imports torch. Each job runs in its own work horse with bounded
memory and time, so that a decompression bomb fails only its own request.
"""

from __future__ import annotations

import resource
import time
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
from app.core.requests.work import load_of, work_of
from models.controls import make_plain_map
from models.geometry import MAX_SIDE, Size, fit_within, generated_size
from models.spec import CONTROLS_MAX
from worker.map_file import store_early
from worker.picture_field import name_field
from worker.runtime import Runtime, runtime
from worker.stage import LostClaim, fail, run_stage
from worker.time_limit import time_limit

_ADDRESS_SPACE = 4 * 1024**3  # twice what the worst 64 megapixels were seen to take
# Time limits of a decoder: several times the slowest format's time, so that a busy machine rejects
# no valid picture. Together with the slowest download they stay below the job's timeout.
_DECODE_S = 3.0
_DECODE_S_PER_MEGAPIXEL = 0.5
_MAX_DECODE_S = 45.0
_MAX_DECODE_ALL_S = 75.0  # of all pictures of a request; the job has 90 s


def prepare(request_id: str) -> None:
    """RQ job: record -> for each control a blob `ID:control` (raw RGB: the control map if it needs
    no detector, else the picture), and the target size and its cost in the record."""
    _bound_memory()
    if run_stage(request_id, Stage.PREPARE, _prepare):
        sources = (keys.source_blob(request_id, index) for index in range(CONTROLS_MAX))
        runtime().blobs.delete(*sources)
        store_early(runtime(), request_id)


def _bound_memory() -> None:
    """Bound the address space of this process. A tighter existing limit stays."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    bound = _ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(_ADDRESS_SPACE, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def _prepare(context: Runtime, record: RequestRecord, execution: str) -> PrepareResult:
    decode = _Decoder(context, record, execution)
    picture = decode.picture(0)
    target = _target_size(context, record, picture)
    _check_time(context, record, target)
    checkpoint = context.settings.checkpoint
    work = 0.0 if record.only_map else work_of(record.params, target, checkpoint)
    load = 0.0 if record.only_map else load_of(record.params, target, checkpoint).total
    _charge(context, record, execution, work)
    are_maps = _store_controls(context, record, 0, picture, target)
    for source in range(1, len(record.sources)):
        picture = decode.picture(source)  # one large picture at a time
        are_maps |= _store_controls(context, record, source, picture, target)
    annotations = tuple(are_maps[control] for control in sorted(are_maps))
    return PrepareResult(
        width=target[0],
        height=target[1],
        work=work,
        profile=record.params.profile or context.settings.profile,
        annotated=annotations[0],
        annotations=annotations if record.params.controls else None,
        load=load,
    )


def _store_controls(
    context: Runtime, record: RequestRecord, index: int, picture: Image.Image, target: Size
) -> dict[int, bool]:
    """Store the control pictures that come from source `index`. For each of these controls whether
    its control picture is the map."""
    params, source, generated = record.params, record.sources[index], generated_size(target)
    fitted = picture
    if not source.is_map or picture.size != generated:
        # A map of the generated size is padded already, as the maps in our outputs are.
        fitted = fit(picture, target, generated)
    are_maps = {}
    for number, control in enumerate(params.all_controls):
        if record.source_of(number) != index:
            continue
        control_map = fitted if source.is_map else None
        if not source.is_map:
            thresholds = params.canny_low, params.canny_high
            control_map = make_plain_map(control.type, fitted, generated, *thresholds)
        name = keys.control_blob(record.id, number)
        context.blobs.put(name, (control_map or fitted).tobytes(), record.expires_at)
        are_maps[number] = control_map is not None
    return are_maps


class _Decoder:
    """Decodes the pictures of a request within the time limits."""

    def __init__(self, context: Runtime, record: RequestRecord, execution: str) -> None:
        self._context, self._record, self._execution = context, record, execution
        self._end = time.monotonic() + _MAX_DECODE_ALL_S

    def picture(self, index: int) -> Image.Image:
        """The picture of source `index`. Raises ImageRejected."""
        source, settings = self._record.sources[index], self._context.settings
        too_slow = ImageRejected(f"{source.field}: decoding it takes longer than it may")
        too_late = partial(fail, self._context, self._record.id, self._execution, too_slow)
        with name_field(source.field):
            data = _source_bytes(self._context, self._record, index)
            with time_limit(self._at_most(_DECODE_S), too_late):
                opened = open_picture(data, settings.max_image_bytes, settings.max_image_pixels)
            with time_limit(self._at_most(_decode_seconds(opened.pixels)), too_late):
                return opened.decode()

    def _at_most(self, seconds: float) -> float:
        return min(seconds, self._end - time.monotonic())


def _decode_seconds(pixels: int) -> float:
    return min(_DECODE_S + _DECODE_S_PER_MEGAPIXEL * pixels / 1e6, _MAX_DECODE_S)


def _source_bytes(context: Runtime, record: RequestRecord, index: int) -> bytes:
    """The picture file: from the request body, from worker.fetch, or from our own outputs."""
    source = record.sources[index]
    if source.url is not None:
        own_picture = _behind_own_link(context, source.url)
        if own_picture is not None:
            return own_picture
    data = context.blobs.get(keys.source_blob(record.id, index))
    if data is None:
        raise ImageRejected("image: its bytes have expired")
    return decode_base64(data) if source.kind == SourceKind.BASE64 else data


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
