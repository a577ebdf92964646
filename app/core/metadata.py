"""A text inside a picture file, where viewers look for it: a PNG text chunk, or EXIF UserComment in
JPEG and WebP. Put in without touching the encoded pixels; read back through Pillow.

Knows nothing of what the text says.
"""

from __future__ import annotations

import struct
import zlib

from PIL import Image

PNG_KEYWORD = "flux-controlnet"
_CODE = b"ASCII\0\0\0"
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_VP8X_EXIF = 0x08


def embed(data: bytes, image_format: str, text: str) -> bytes:
    """`data`, a file that app.core.images.encode made, with `text`: ASCII, at most 65,000
    characters, for a JPEG segment holds 65,533 bytes."""
    if image_format == "png":
        return _in_png(data, text)
    return (_in_jpeg if image_format == "jpeg" else _in_webp)(data, _exif(text))


def embedded(picture: Image.Image) -> str | None:
    """The text that embed() put into the file of `picture`; None when there is none."""
    text = picture.info.get(PNG_KEYWORD)
    if text is None:
        comment = picture.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
        if not isinstance(comment, bytes):  # another camera's, of a type that is not ours
            return None
        text = comment.removeprefix(_CODE).decode("ascii", "replace") if comment else None
    return text if isinstance(text, str) else None


def _exif(text: str) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _CODE + text.encode("ascii")
    return exif.tobytes()


def _in_png(data: bytes, text: str) -> bytes:
    """Right behind the signature and the header, which take 33 bytes."""
    body = b"tEXt" + PNG_KEYWORD.encode() + b"\0" + text.encode("ascii")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def _in_jpeg(data: bytes, exif: bytes) -> bytes:
    """Behind the JFIF segment, which must be the first one."""
    end = 4 + struct.unpack(">H", data[4:6])[0]
    return data[:end] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[end:]


def _in_webp(data: bytes, exif: bytes) -> bytes:
    """In the extended format: a VP8X chunk before the picture, the EXIF chunk behind it."""
    width, height = _webp_size(data)
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    header = _riff(b"VP8X", bytes([_VP8X_EXIF, 0, 0, 0]) + sides)
    exif = exif.removeprefix(b"Exif\0\0")
    return _riff(b"RIFF", b"WEBP" + header + data[12:] + _riff(b"EXIF", exif))


def _webp_size(data: bytes) -> tuple[int, int]:
    """Of a lossy picture in the simple format: 14 bits each in the key frame's header."""
    assert data[12:16] == b"VP8 "
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _riff(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
