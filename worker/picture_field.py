"""The name of the request field that holds the picture, for error texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.core.errors import ImageRejected
from app.core.requests.record import RequestRecord


def picture_field(record: RequestRecord) -> str:
    """`image`, or `control_image` for a ready control map."""
    return record.source.field


@contextmanager
def name_field(record: RequestRecord) -> Iterator[None]:
    """A block whose ImageRejected errors name `image`: replace it by the field the client sent."""
    try:
        yield
    except ImageRejected as error:
        field = picture_field(record)
        raise ImageRejected(error.text.replace("image:", f"{field}:", 1)) from error
