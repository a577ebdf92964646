"""What a request reserves of its key's budget when it is submitted: its exact cost where the size
of the result is known, an estimate where it is not. The worker that decodes the picture knows, and
corrects it (worker/prepare.py); nothing is decoded here.
"""

from __future__ import annotations

from app.api.schemas import FluxControlNetBody
from app.core.credits import cost_of
from app.core.keys import Key
from app.core.picture_size import size_of, size_of_base64
from app.core.requests import Account
from app.core.settings import Settings
from models.evaluations import evaluations_of
from models.geometry import MAX_SIDE, Size, fit_within, work_units

_UNKNOWN: Size = (1024, 1024)
"""What a result is taken to measure while its picture is somewhere else: the default size."""


def account_of(
    key: Key,
    body: FluxControlNetBody,
    upload: bytes | None,
    settings: Settings,
    *,
    only_map: bool = False,
) -> Account:
    """On whose account a request of this body goes, and what it reserves; a control map alone is
    free."""
    price = settings.credits_per_work_unit
    reserved = 0
    if key.budgeted and not only_map:
        evaluations = evaluations_of(body.sampler, body.scheduler, body.steps)
        size = _size(body, upload, settings.max_pixels)
        reserved = cost_of(work_units(size, evaluations, body.samples), price)
    return Account(key.id, price, reserved, key.concurrency)


def _size(body: FluxControlNetBody, upload: bytes | None, max_pixels: int) -> Size:
    if not body.use_input_img_dimension:
        return body.custom_width, body.custom_height
    text = body.control_image or body.image
    if upload is not None:
        found = size_of(upload)
    elif "://" in text[:16]:
        found = None
    else:
        found = size_of_base64(text)
    return fit_within(found or _UNKNOWN, MAX_SIDE, max_pixels)
