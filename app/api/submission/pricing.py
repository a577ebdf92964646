"""What a request reserves of its key's budget when it is submitted: its exact cost where the size
of the result is known, an estimate where it is not, since its picture is on somebody else's server.
The worker that decodes the picture knows, and corrects it (worker/prepare.py); nothing is decoded
or fetched here.
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
"""What a result is taken to measure while its picture is somewhere else: the default size."""


def account_of(
    key: Key,
    body: FluxControlNetBody,
    upload: bytes | None,
    services: Services,
    *,
    inline: bytes | None = None,
    only_map: bool = False,
) -> Account:
    """On whose account a request of this body goes, and what it reserves; a control map alone is
    free. upload, inline: as Submission has them."""
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
    text = body.control_image or body.image
    if upload is not None:
        found = size_of(upload)
    elif inline is not None:
        found = size_of_base64(inline)
    elif "://" in text[:16]:
        found = _size_behind(text, services)
    else:
        found = size_of_base64(text)
    return fit_within(found or _UNKNOWN, MAX_SIDE, services.settings.max_pixels)


def _size_behind(url: str, services: Services) -> Size | None:
    """Of a picture that lies here; None for any other, since nothing is fetched here."""
    made = services.links.own_output(url)
    if made is not None:
        return _size_made(services.requests.get(made[0]), made[1])
    upload = services.links.own_upload(url)
    data = None if upload is None else services.blobs.get(keys.upload_blob(upload))
    return None if data is None else size_of(data)


def _size_made(record: RequestRecord | None, stem: str) -> Size | None:
    """Of the file of this name, without its ending, among what a request has made."""
    made = [] if record is None else [*record.outputs, record.control_map or {}]
    files = {Path(one.get("file_name", "")).stem: one for one in made}
    return (files[stem]["width"], files[stem]["height"]) if stem in files else None
