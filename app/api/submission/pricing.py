"""The amount that a submission reserves of its key's budget: the exact cost where the size of the
result is known, an estimate where the picture is on another server. The worker that decodes the
picture corrects it (worker/prepare.py). Decodes and fetches nothing.
"""

from __future__ import annotations

from pathlib import Path

from app.api.deps import Services
from app.api.wire.requests import FluxControlNetBody
from app.core.accounts.api_keys import Key
from app.core.accounts.credits import cost_of
from app.core.images.header_size import size_of, size_of_base64
from app.core.redis import keys
from app.core.requests.record import RequestRecord
from app.core.requests.store import Account
from models.evaluations import evaluations_of
from models.geometry import MAX_SIDE, Size, fit_within, work_units

_UNKNOWN: Size = (1024, 1024)
"""The assumed size of a result whose picture is on another server: the default size."""


def account_of(
    key: Key,
    body: FluxControlNetBody,
    upload: bytes | None,
    services: Services,
    *,
    inline: bytes | None = None,
    only_map: bool = False,
) -> Account:
    """The account that pays for a request and the amount to reserve; a control map alone is free.
    upload, inline: as in Submission."""
    price = services.settings.credits_per_work_unit
    reserved = 0
    if key.budgeted and not only_map:
        evaluations = evaluations_of(body.sampler, body.scheduler, body.steps)
        size = _size(body, upload, inline, services)
        reserved = cost_of(work_units(size, evaluations, body.samples), price)
    return Account(key.id, price, reserved, key.concurrency)


def _size(
    body: FluxControlNetBody, upload: bytes | None, inline: bytes | None, services: Services
) -> Size:
    if not body.use_input_img_dimension:
        return body.custom_width, body.custom_height
    size = input_size(body, upload, inline, services)
    return fit_within(size or _UNKNOWN, MAX_SIDE, services.settings.max_pixels)


def input_size(
    body: FluxControlNetBody, upload: bytes | None, inline: bytes | None, services: Services
) -> Size | None:
    """The size of the picture of a request; None for one that is on another server."""
    text = body.control_image or body.image
    if upload is not None:
        return size_of(upload)
    if inline is not None:
        return size_of_base64(inline)
    if "://" in text[:16]:
        return _size_behind(text, services)
    return size_of_base64(text)


def _size_behind(url: str, services: Services) -> Size | None:
    """The size of a picture that this server stores; None for any other."""
    output = services.links.own_output(url)
    if output is not None:
        request_id, stem = output
        return _output_size(services.requests.get(request_id), stem)
    sha256 = services.links.own_upload(url)
    data = None if sha256 is None else services.blobs.get(keys.upload_blob(sha256))
    return None if data is None else size_of(data)


def _output_size(record: RequestRecord | None, stem: str) -> Size | None:
    """stem: the name of a file of the request, without its suffix."""
    for picture in record.pictures if record else ():
        if Path(picture.file_name).stem == stem:
            return picture.width, picture.height
    return None
