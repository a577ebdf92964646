"""Streaming parser for multipart forms: Starlette's, with stricter rules for text and pictures."""

from __future__ import annotations

import codecs
import quopri
import re
from tempfile import SpooledTemporaryFile
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.parsing.control_fields import is_picture
from app.api.wire.requests import JSON_FIELDS, PROMPT_MAX
from app.core.errors import ImageRejected, InvalidRequest
from app.core.images.data_uri import decode_base64

_MAX_TEXT = 4 * (PROMPT_MAX + 1)  # bytes; a character of UTF-8 has four at most
_IDENTITY = ("", "7bit", "8bit", "binary")
_SHOWN = 64
_LISTED_IMAGE = re.compile(r"image\[[0-9]{0,3}\]")
_ASCII = bytes(range(0x20, 0x7F))


class WholeForm(MultiPartParser):
    """Starlette's parser accepts a truncated form, reads invalid UTF-8 as Latin-1, and treats a
    picture without a file name as text. Here every part named like a picture is an UploadFile; its
    file name is None if the part has none. So are the JSON_FIELDS: `controls` may hold pictures in
    base64.
    """

    ended = False
    listed_image = False
    """Whether `image[]` and `image[0]`, the names of pictures in a list, mean `image`."""

    def on_end(self) -> None:
        self.ended = True
        super().on_end()

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        part = self._current_part
        if self.listed_image and _LISTED_IMAGE.fullmatch(part.field_name):
            part.field_name = "image"
        if part.file is None and (is_picture(part.field_name) or part.field_name in JSON_FIELDS):
            # No `with` block: Starlette closes it with the form, after the part is read.
            file: Any = SpooledTemporaryFile(max_size=self.spool_max_size)  # noqa: SIM115
            self._files_to_close_on_error.append(file)
            part.file = UploadFile(file, size=0, headers=Headers(raw=part.item_headers))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Truncate a text that is longer than any parameter may be."""
        part = self._current_part
        if part.file is None:
            end = min(end, start + _MAX_TEXT - len(part.data))
        if start < end:
            super().on_part_data(data, start, end)

    def on_part_end(self) -> None:
        part = self._current_part
        if part.file is None:
            part.data = bytearray(_utf_8(part.field_name, part.item_headers, bytes(part.data)))
        super().on_part_end()


def without_coding(name: str, headers: Headers, data: bytes) -> bytes:
    """Decode a part's Content-Transfer-Encoding, which RFC 7578 (4.7) deprecates and old libraries
    still send. Raises InvalidRequest."""
    coding = headers.get("content-transfer-encoding", "").strip(" \t").lower()
    if coding in _IDENTITY:
        return data
    if coding == "quoted-printable":
        return quopri.decodestring(data)
    if coding != "base64":
        raise InvalidRequest(f"{name[:_SHOWN]}: its Content-Transfer-Encoding is not understood")
    try:
        return decode_base64(data)
    except ImageRejected:
        raise InvalidRequest(f"{name[:_SHOWN]}: is not in base64, as its part says") from None


def _utf_8(name: str, raw_headers: list[tuple[bytes, bytes]], data: bytes) -> bytes:
    """The text of a part as UTF-8. Raises MultiPartException if it is ambiguous."""
    headers = Headers(raw=raw_headers)
    _, options = parse_options_header(headers.get("content-type"))
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    data = without_coding(name, headers, data)
    try:
        # The last character of a truncated text may be incomplete.
        text = codecs.getincrementaldecoder("utf-8")().decode(data, len(data) < _MAX_TEXT)
    except UnicodeDecodeError:
        raise MultiPartException("its text must be UTF-8") from None
    if not _agrees_on_ascii(charset):
        raise MultiPartException("its text must be UTF-8")
    return text.encode()


def _agrees_on_ascii(charset: str) -> bool:
    try:
        return _ASCII.decode(charset) == _ASCII.decode()
    except UnicodeDecodeError:
        return False
    except (LookupError, ValueError):  # unknown charset: read as UTF-8
        return True
