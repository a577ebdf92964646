"""Parses a multipart form into the fields of a request and its pictures. Validates no value.

Clients send a picture with or without a file name and a type, as bytes, base64 or a URL. `_is_file`
decides.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from app.api.parsing.control_fields import is_picture, with_controls
from app.api.parsing.form_parts import WholeForm, without_coding
from app.api.parsing.json_body import read_value
from app.api.parsing.json_scan import LongString
from app.api.wire.requests import JSON_FIELDS, FluxControlNetBody
from app.core.errors import InvalidRequest

_MAX_PARTS = 64
_CHUNK = 65_536  # bytes of a JSON text that are read at a time
_SHORT = 32_768  # bytes; a longer text is a LongString
_FILE = "a file"  # stands in the fields for its bytes
_ONE = "one is needed, and further control pictures go into controls"
_FILE_TYPES = ("image/", "application/octet-stream")


async def read_form(
    request: Request, max_bytes: int, *, listed_image: bool = False
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The fields, and the bytes of the pictures that are files. A picture in a long text is a
    LongString. listed_image: a list `image[]` of one picture is `image`. Raises InvalidRequest."""
    _refuse_charset(request.headers["content-type"])
    parser = WholeForm(
        request.headers,
        request.stream(),
        max_files=_MAX_PARTS,
        max_fields=_MAX_PARTS,
        max_part_size=max_bytes,
    )
    parser.listed_image = listed_image
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"body: not valid multipart/form-data; {error.message}") from None
    if not parser.ended:
        raise InvalidRequest("body: not valid multipart/form-data; its last boundary is missing")
    try:
        return await _parts_of(form, listed_image)
    finally:
        await form.close()


async def _parts_of(form: FormData, listed_image: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    fields: dict[str, Any] = {}
    uploads: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            fields[name] = value
        elif value.filename == "" and not value.size:
            continue  # a browser sends an empty file input like this
        elif name in JSON_FIELDS and value.filename is None:
            fields[name] = await _json_of(name, value)
        elif is_picture(name):
            data = await value.read()
            data = await run_in_threadpool(without_coding, name, value.headers, data)
            if listed_image and (fields.get(name) or name in uploads):
                raise InvalidRequest(f"{name}: more than one picture; {_ONE}")
            if not _is_file(value, data):
                fields[name] = _text(data)
                continue
            if name in uploads:
                raise InvalidRequest(f"{name}: more than one file; one picture is needed")
            if not data:
                raise InvalidRequest(f"{name}: the file is empty; a picture is needed")
            uploads[name] = data
        elif name in FluxControlNetBody.model_fields:
            raise InvalidRequest(f"{name}: a file is not allowed; only image may be one")
        else:
            fields[name] = _FILE  # unknown, like a text of this name
    # A file wins over a text field of the same name.
    return with_controls(fields | dict.fromkeys(uploads, _FILE)), uploads


async def _json_of(name: str, part: UploadFile) -> Any:
    """The value of a part that is JSON; "" if it is empty."""
    if not part.size:
        return ""
    return await read_value(_chunks(name, part), name, JSON_FIELDS[name])


async def _chunks(name: str, part: UploadFile) -> AsyncIterator[bytes]:
    if "content-transfer-encoding" in part.headers:
        yield without_coding(name, part.headers, await part.read())
    while chunk := await part.read(_CHUNK):
        yield chunk


def _is_file(part: UploadFile, data: bytes) -> bool:
    """Whether a part named like a picture holds its bytes, not a URL or base64."""
    if part.filename is not None or "filename*" in part.headers.get("content-disposition", ""):
        return True
    if data and part.headers.get("content-type", "").lower().startswith(_FILE_TYPES):
        return True
    return b"\0" in data[:_SHORT] or not _is_utf_8(data)


def _is_utf_8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(data: bytes) -> str | LongString:
    return data.decode() if len(data) <= _SHORT else LongString([data])


def _refuse_charset(content_type: str) -> None:
    """Starlette would decode the form in any charset that the client names, so a proxy or a log
    could read another text. Uses Starlette's own header parser.
    """
    _, options = parse_options_header(content_type)
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    try:
        utf_8 = codecs.lookup(charset).name == "utf-8"
    except (LookupError, ValueError):  # ValueError: a name with a null byte in it
        utf_8 = False
    if not utf_8:
        raise InvalidRequest("body: not valid multipart/form-data; its text must be UTF-8")
