"""The finish job, the last one: crops, encodes and stores the pictures; the request is COMPLETED.

Runs on a cpu worker and never imports torch: the gpu worker hands over raw pixels. worker.main has
loaded the content filter, if one is configured.
"""

from __future__ import annotations

import io
import logging

from PIL import Image

from app.core.errors import ContentWithheld, GenerationFailed
from app.core.images.encode import content_type, encode
from app.core.images.metadata import embed
from app.core.infotext import infotext
from app.core.lifecycle.temporary_blobs import delete_temporary_blobs
from app.core.receipts import digest, picture_text
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.stage_results import FinishResult
from app.core.requests.types import Output, StoredPicture
from models.geometry import Size, centred_box, generated_size
from models.spec import image_seed
from worker.map_file import map_file
from worker.runtime import Runtime, runtime
from worker.stage import run_stage

log = logging.getLogger(__name__)


def finish(request_id: str) -> None:
    """RQ job: blobs `ID:pixels:i` -> blobs `ID:output:i`, the control maps -> `ID:output:map`, and
    their description in the record."""
    if run_stage(request_id, Stage.FINISH, _finish):
        _after_completion(runtime(), request_id)


def _after_completion(context: Runtime, request_id: str) -> None:
    delete_temporary_blobs(context.requests, context.blobs, request_id)
    record = context.requests.get(request_id)
    if record is not None and not record.only_map:
        context.throughput.add(record)
        context.generation_times.add(record)


def _finish(context: Runtime, record: RequestRecord, _execution: str) -> FinishResult:
    control_maps = _control_maps(context, record)
    if record.only_map:
        if control_maps is None:
            raise GenerationFailed("Internal error: the control map was lost")
        [control_map] = control_maps
        file = _store(context, record, "0", "png", control_map, encode(control_map, "png", 100))
        return FinishResult((file.with_seed(0),), outputs_expire_at=_expiry(context, record))
    _screen(context, record)
    outputs = tuple(_deliver(context, record, index) for index in range(record.params.samples))
    expires_at = _expiry(context, record)
    if control_maps is None:  # a gpu worker of an older version stored none
        return FinishResult(outputs, outputs_expire_at=expires_at)
    first, *further = (
        _deliver_map(context, record, index, control_map)
        for index, control_map in enumerate(control_maps)
    )
    return FinishResult(outputs, first, tuple(further) or None, expires_at)


def _screen(context: Runtime, record: RequestRecord) -> None:
    """Raises ContentWithheld before any output is stored."""
    settings = context.settings
    if not settings.content_filter:
        return
    if context.content_filter is None:  # fail closed: no unfiltered picture may go out
        raise RuntimeError("the content filter is configured but not loaded")
    for index in range(record.params.samples):
        score = context.content_filter.score(_picture(context, record, index))
        log.info("request %s: the content filter gives picture %d %.3f", record.id, index, score)
        if score >= settings.content_filter_threshold:
            raise ContentWithheld


def _deliver(context: Runtime, record: RequestRecord, index: int) -> Output:
    image_format = record.params.image_format
    picture = _picture(context, record, index)
    seed = image_seed(record.params.seed, index)
    data = encode(picture, image_format, record.params.quality)
    if image_format != "png":
        picture = Image.open(io.BytesIO(data))  # the digest is of the pixels that a reader decodes
    pixels_sha256 = digest(picture.tobytes())
    if context.settings.output_metadata:
        text = picture_text(context.receipts, record, seed, pixels_sha256)
        data = embed(data, image_format, text, infotext(record, seed))
    file = _store(context, record, str(index), image_format, picture, data, pixels_sha256)
    return file.with_seed(seed)


def _deliver_map(
    context: Runtime, record: RequestRecord, index: int, control_map: Image.Image
) -> StoredPicture:
    data = map_file(context, record, index, control_map)
    return _store(context, record, keys.map_name(index), "png", control_map, data)


def _store(
    context: Runtime,
    record: RequestRecord,
    name: str,
    image_format: str,
    picture: Image.Image,
    data: bytes,
    pixels_sha256: str | None = None,
) -> StoredPicture:
    """Store an output file and return its description for the record."""
    context.blobs.put(keys.output_blob(record.id, name), data, _expiry(context, record))
    return StoredPicture(
        file_name=f"{name}.{image_format}",
        content_type=content_type(image_format),
        file_size=len(data),
        width=picture.width,
        height=picture.height,
        sha256=digest(data),
        pixels_sha256=pixels_sha256 or digest(picture.tobytes()),
    )


def _expiry(context: Runtime, record: RequestRecord) -> int:
    """When the files expire, in Unix seconds. The same for every execution, so that a late write of
    a lost one cannot shorten their life."""
    return int(max(record.expires_at, record.created_at + context.settings.output_life_s))


def _picture(context: Runtime, record: RequestRecord, index: int) -> Image.Image:
    target, generated = _sizes(record)
    pixels = context.blobs.get(keys.pixels_blob(record.id, index))
    if pixels is None:
        raise GenerationFailed("Internal error: the picture was lost before it was delivered")
    picture = Image.frombytes("RGB", generated, pixels)
    return picture if target == generated else picture.crop(centred_box(generated, target))


def _control_maps(context: Runtime, record: RequestRecord) -> list[Image.Image] | None:
    """The ControlNet's input for each control, padding included; None when one is lost."""
    control_maps = []
    for index, is_map in enumerate(record.are_maps or ()):
        name = keys.control_blob if is_map else keys.map_blob
        pixels = context.blobs.get(name(record.id, index))
        if pixels is None:
            return None
        control_maps.append(Image.frombytes("RGB", _sizes(record)[1], pixels))
    return control_maps or None


def _sizes(record: RequestRecord) -> tuple[Size, Size]:
    """The requested size and the generated size."""
    assert record.width is not None
    assert record.height is not None
    target = record.width, record.height
    return target, generated_size(target)
