"""Metadata in picture files: PNG text chunks, or EXIF UserComment in JPEG and WebP.

Writing does not change the encoded pixels; reading uses Pillow. Does not know the meaning of the
texts.
"""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from app.core.images.exif import ASCII_CODE, EXIF_IFD_TAG, USER_COMMENT_TAG, exif_block

PNG_KEYWORD = "flux-controlnet"
PARAMETERS_KEYWORD = "parameters"
"""The PNG text that image generation tools read (app.core.infotext)."""

_VP8X_EXIF = 0x08


def embed(data: bytes, image_format: str, text: str, parameters: str | None = None) -> bytes:
    """Add `text` to `data`, a file of app.core.images.encode.encode. text: ASCII, at most 65,000
    characters, because a JPEG segment has at most 65,533 bytes. parameters: Unicode, PNG only.
    """
    if image_format == "png":
        chunks = _text_chunk(PNG_KEYWORD, text)
        if parameters is not None:
            chunks += _text_chunk(PARAMETERS_KEYWORD, parameters)
        return data[:33] + chunks + data[33:]  # after the signature and the header
    with Image.open(io.BytesIO(data)) as picture:
        size = picture.size
    exif = exif_block(text, size)
    return _in_jpeg(data, exif) if image_format == "jpeg" else _in_webp(data, exif, size)


def embedded(picture: Image.Image) -> str | None:
    """The text that embed() added to the file of `picture`; None if it has none. Also reads older
    files, whose comment has the type BYTE."""
    text = picture.info.get(PNG_KEYWORD)
    if text is None:
        comment = picture.getexif().get_ifd(EXIF_IFD_TAG).get(USER_COMMENT_TAG)
        # Another program's comment may have any type and any character code.
        if not isinstance(comment, bytes) or not comment.startswith(ASCII_CODE):
            return None
        text = comment.removeprefix(ASCII_CODE).decode("ascii", "replace")
    return text if isinstance(text, str) else None


def _text_chunk(keyword: str, text: str) -> bytes:
    """A tEXt chunk for Latin-1, else iTXt in UTF-8; neither may contain NUL."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    try:
        body = b"tEXt" + keyword.encode() + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        body = b"iTXt" + keyword.encode() + bytes(5) + text.encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _in_jpeg(data: bytes, exif: bytes) -> bytes:
    """After the JFIF segment, which must be the first one."""
    end = 4 + struct.unpack(">H", data[4:6])[0]
    body = b"Exif\0\0" + exif
    return data[:end] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[end:]


def _in_webp(data: bytes, exif: bytes, size: tuple[int, int]) -> bytes:
    """In the extended format: a VP8X chunk before the picture, the EXIF chunk after it."""
    assert data[12:16] == b"VP8 "  # lossy and in the simple format
    width, height = ((side - 1).to_bytes(3, "little") for side in size)
    header = _riff(b"VP8X", bytes([_VP8X_EXIF, 0, 0, 0]) + width + height)
    return _riff(b"RIFF", b"WEBP" + header + data[12:] + _riff(b"EXIF", exif))


def _riff(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
