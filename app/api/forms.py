"""A multipart form as the fields of a request and its pictures. Judges no value."""

from __future__ import annotations

import codecs
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.schemas import PICTURE_FIELDS, FluxControlNetBody
from app.core.errors import InvalidRequest

_PARTS = 64


async def read_form(request: Request, max_bytes: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The fields, and the bytes of those pictures that came as files. Raises InvalidRequest."""
    _refuse_charset(request.headers["content-type"])
    parser = _WholeForm(
        request.headers,
        request.stream(),
        max_files=_PARTS,
        max_fields=_PARTS,
        max_part_size=max_bytes,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"body: not valid multipart/form-data; {error.message}") from None
    if not parser.ended:
        raise InvalidRequest("body: not valid multipart/form-data; its last boundary is missing")
    try:
        return await _parts_of(form)
    finally:
        await form.close()


async def _parts_of(form: FormData) -> tuple[dict[str, Any], dict[str, bytes]]:
    fields: dict[str, Any] = {}
    uploads: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            fields[name] = value
        elif not value.filename and not value.size:
            continue  # how a browser sends a file input in which nothing was chosen
        elif name in PICTURE_FIELDS:
            if name in uploads:
                raise InvalidRequest(f"{name}: more than one file; one picture is needed")
            uploads[name] = await value.read()
            if not uploads[name]:
                raise InvalidRequest(f"{name}: the file is empty; a picture is needed")
        elif name in FluxControlNetBody.model_fields:
            raise InvalidRequest(f"{name}: a file is not allowed; only image may be one")
    # A file wins over a text field of the same name.
    return fields | dict.fromkeys(uploads, "a file"), uploads


class _WholeForm(MultiPartParser):
    """Starlette's parser takes a form that was cut for a whole one, and text that is no UTF-8 for
    Latin-1."""

    ended = False

    def on_end(self) -> None:
        self.ended = True
        super().on_end()

    def on_part_end(self) -> None:
        if self._current_part.file is None:
            try:
                self._current_part.data.decode()
            except UnicodeDecodeError:
                raise MultiPartException("its text must be UTF-8") from None
        super().on_part_end()


def _refuse_charset(content_type: str) -> None:
    """Starlette would read a form's text in whatever charset the client names, and what a proxy
    or a log took for one text would be another one here. Its own parser of the header is asked.
    """
    _, options = parse_options_header(content_type)
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    try:
        utf_8 = codecs.lookup(charset).name == "utf-8"
    except (LookupError, ValueError):  # ValueError: a name with a null byte in it
        utf_8 = False
    if not utf_8:
        raise InvalidRequest("body: not valid multipart/form-data; its text must be UTF-8")
