"""The name of the request field that holds a picture, in error texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.core.errors import ImageRejected


@contextmanager
def name_field(field: str) -> Iterator[None]:
    """A block whose ImageRejected errors name `image`: replace it by the field the client sent."""
    try:
        yield
    except ImageRejected as error:
        raise ImageRejected(error.text.replace("image:", f"{field}:", 1)) from error
