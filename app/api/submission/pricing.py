"""The amount that a submission reserves of its key's budget: the exact cost where the size of the
result is known, an estimate where the picture is on another server. The worker that decodes the
picture corrects it (worker/prepare.py). Decodes and fetches nothing.
"""

from __future__ import annotations

from pathlib import Path

from app.api.deps import Services
from app.api.submission.pictures import SentPicture
from app.api.wire.requests import FluxControlNetBody
from app.core.accounts.api_keys import Key
from app.core.accounts.credits import cost_of
from app.core.images.header_size import size_of, size_of_base64
from app.core.redis import keys
from app.core.requests.record import RequestRecord
from app.core.requests.store import Account
from app.core.requests.work import work_of
from models.geometry import MAX_SIDE, Size, fit_within

_UNKNOWN: Size = (1024, 1024)
"""The assumed size of a result whose picture is on another server: the default size."""


def account_of(
    key: Key,
    body: FluxControlNetBody,
    picture: SentPicture,
    services: Services,
    *,
    only_map: bool = False,
) -> Account:
    """The account that pays for a request and the amount to reserve; a control map alone is free.
    picture: the one that may decide the size."""
    settings = services.settings
    reserved = 0
    if key.budgeted and not only_map:
        params = body.parameters(seed=body.seed, only_map=False)
        work = work_of(params, _size(body, picture, services), settings.checkpoint)
        reserved = cost_of(work, settings.credits_per_work_unit)
    return Account(key.id, settings.credits_per_work_unit, reserved, key.concurrency)


def _size(body: FluxControlNetBody, picture: SentPicture, services: Services) -> Size:
    if not body.use_input_img_dimension:
        return body.custom_width, body.custom_height
    size = input_size(picture, services)
    return fit_within(size or _UNKNOWN, MAX_SIDE, services.settings.max_pixels)


def input_size(picture: SentPicture, services: Services) -> Size | None:
    """The size of a picture; None for one that is on another server."""
    if picture.upload is not None:
        return size_of(picture.upload)
    if picture.inline is not None:
        return size_of_base64(picture.inline)
    return _size_behind(picture.text, services) if picture.by_url else size_of_base64(picture.text)


def _size_behind(url: str, services: Services) -> Size | None:
    """The size of a picture that this server stores; None for any other."""
    output = services.links.own_output(url)
    if output is not None:
        request_id, stem = output
        known = _output_size(services.requests.get(request_id), stem)
        return known or _size_of_blob(services, keys.output_blob(request_id, stem))
    sha256 = services.links.own_upload(url)
    return None if sha256 is None else _size_of_blob(services, keys.upload_blob(sha256))


def _size_of_blob(services: Services, name: str) -> Size | None:
    data = services.blobs.get(name)
    return None if data is None else size_of(data)


def _output_size(record: RequestRecord | None, stem: str) -> Size | None:
    """None also when the picture has outlived its record. stem: the name of a file of the request,
    without its suffix."""
    for picture in record.pictures if record else ():
        if Path(picture.file_name).stem == stem:
            return picture.width, picture.height
    return None
