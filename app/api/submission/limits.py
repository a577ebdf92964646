"""Refuses a valid body whose result would be too large, or would take too long.

Where the picture decides the size and is on another server, the worker that decodes it checks the
time (worker/prepare.py).
"""

from __future__ import annotations

from app.api.deps import Services
from app.api.submission.pictures import SentPicture
from app.api.submission.pricing import input_size
from app.api.wire.requests import FluxControlNetBody
from app.core.errors import InvalidRequest
from models.geometry import MAX_SIDE, fit_within, largest_of_shape


def check_size(services: Services, body: FluxControlNetBody) -> None:
    """Raises InvalidRequest for a custom size that no worker can make."""
    size = body.custom_width, body.custom_height
    allowed = services.jobs.allowed_pixels(services.settings.max_pixels)
    if size[0] * size[1] > allowed:
        largest = largest_of_shape(size, allowed)
        raise InvalidRequest(
            f"custom_width: {size[0]}x{size[1]} is not allowed; allowed are at most {allowed} "
            f"pixels, in this shape {largest[0]}x{largest[1]}"
        )


def check_time(services: Services, body: FluxControlNetBody, picture: SentPicture) -> None:
    """Raises InvalidRequest for a request that cannot end within its time limit. picture: the one
    that may decide the size."""
    estimate = services.generation_times.estimate(body.parameters(seed=body.seed, only_map=False))
    if estimate.in_time((MAX_SIDE, MAX_SIDE)):
        return  # the usual case, which needs no look at the picture
    if body.use_input_img_dimension:
        input_pixels = input_size(picture, services)
        if input_pixels is None:
            return
        allowed = services.jobs.allowed_pixels(services.settings.max_pixels)
        size = fit_within(input_pixels, MAX_SIDE, allowed)
    else:
        size = body.custom_width, body.custom_height
    if not estimate.in_time(size):
        raise InvalidRequest(estimate.refusal(size))
