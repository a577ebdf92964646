"""Which field of the body named the picture, for the texts of errors about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.core.errors import ImageRejected
from app.core.requests.record import RequestRecord


def picture_field(record: RequestRecord) -> str:
    """`image`, or `control_image` for a ready control map."""
    return record.source.get("field", "image")


@contextmanager
def name_field(record: RequestRecord) -> Iterator[None]:
    """Errors raised inside are about `image`; change that to the field that the client sent."""
    try:
        yield
    except ImageRejected as error:
        field = picture_field(record)
        raise ImageRejected(error.text.replace("image:", f"{field}:", 1)) from error
