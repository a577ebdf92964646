"""The expected work of a submission and the amount that it reserves of its key's budget: exact if
the size of the result is known, an estimate if the picture is on another server. The worker that
decodes the picture corrects it (worker/prepare.py). Decodes and fetches nothing.
"""

from __future__ import annotations

from pathlib import Path

from app.api.deps import Services
from app.api.submission.pictures import SentPicture
from app.core.accounts.api_keys import Key
from app.core.accounts.credits import cost_of
from app.core.images.header_size import size_of, size_of_base64
from app.core.redis import keys
from app.core.requests.record import RequestRecord
from app.core.requests.store import Account
from app.core.requests.types import GenerationParameters
from app.core.requests.work import ExpectedWork, load_of, work_of
from models.geometry import MAX_SIDE, Size, fit_within

_UNKNOWN: Size = (1024, 1024)
"""The assumed size of a result whose picture is on another server: the default size."""


def expected_work(
    params: GenerationParameters, key: Key, picture: SentPicture, services: Services
) -> ExpectedWork:
    """What a request will ask of a gpu; a control map alone is free. picture: the one that may
    decide the size."""
    settings = services.settings
    profile = params.profile or settings.profile
    if params.only_map:
        return ExpectedWork(0.0, 0.0, profile)
    size = _size(params, key, picture, services)
    work = work_of(params, size, settings.checkpoint)
    return ExpectedWork(work, load_of(params, size, settings.checkpoint).total, profile)


def account_of(key: Key, expected: ExpectedWork, services: Services) -> Account:
    """The account that pays for a request, and the amount to reserve."""
    price = services.settings.credits_per_work_unit
    reserved = cost_of(expected.work, price) if key.budgeted else 0
    return Account(key.id, price, reserved, key.concurrency)


def _size(params: GenerationParameters, key: Key, picture: SentPicture, services: Services) -> Size:
    if not params.use_input_img_dimension:
        return params.custom_width, params.custom_height
    # A stored picture is read for a price, but not for an ETA that PREPARE corrects at once.
    size = input_size(picture, services) if key.budgeted or not picture.by_url else None
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
