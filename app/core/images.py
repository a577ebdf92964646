"""Bounded decoding and encoding of pictures. Never opens a path or a URL.

A picture is judged by its header before a pixel is decoded: a 20 KB file can hold 169 megapixels.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import warnings
from urllib.parse import unquote

from PIL import Image, ImageOps, UnidentifiedImageError

from app.core.errors import ImageRejected
from models.geometry import MULTIPLE, Size, centred_box

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_DATA_URI = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_LEVEL = 1  # level 6 takes five times as long for 5 % fewer bytes
_CONTENT_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


def content_type(image_format: str) -> str:
    return _CONTENT_TYPES[image_format]


def decode_base64(text: str) -> bytes:
    """Bytes of raw base64 or of a data URI; standard or URL-safe alphabet, padding optional."""
    text = text.lstrip(" \t\r\n\ufeff")
    prefix = _DATA_URI.match(text)
    if prefix and not prefix.group().lower().endswith(";base64,"):
        raise ImageRejected("image: a data URI must hold base64")
    payload = "".join((unquote(text[prefix.end() :]) if prefix else text).split())
    payload = payload.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ImageRejected(
            "image: neither an http(s) URL nor base64 nor a base64 data URI"
        ) from None


def decode(data: bytes, max_bytes: int, max_pixels: int) -> Image.Image:
    """The first frame of a picture as RGB, turned upright by its EXIF orientation.

    Transparency is laid on white. Raises ImageRejected for anything that is not a whole picture
    within the bounds.
    """
    if len(data) > max_bytes:
        raise ImageRejected(f"image: {len(data)} bytes; at most {max_bytes} are allowed")
    with warnings.catch_warnings():
        # Pillow's own size warnings are about limits of its own; ours is checked right below.
        warnings.simplefilter("ignore")
        try:
            picture = Image.open(io.BytesIO(data), formats=_FORMATS)
            width, height = picture.size
            if width * height > max_pixels:
                raise ImageRejected(
                    f"image: {width}x{height} pixels; at most {max_pixels} pixels are allowed"
                )
            picture.load()
            return _on_white(_upright(picture))
        except ImageRejected:
            raise
        except Image.DecompressionBombError:
            raise ImageRejected(f"image: at most {max_pixels} pixels are allowed") from None
        except UnidentifiedImageError:
            raise ImageRejected(
                "image: not a picture; JPEG, PNG, WebP, GIF, BMP and TIFF are read"
            ) from None
        except Exception as error:  # decoders raise nearly anything on damaged files
            raise ImageRejected("image: the picture is damaged or truncated") from error


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says. ImageOps.exif_transpose would also rewrite the rest of
    the EXIF data, and fails on sound pictures whose other tags are damaged."""
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG)
    except Exception:  # EXIF data too damaged to be read turns nothing
        return picture
    method = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return picture if method is None else picture.transpose(method)


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        # Pillow clips 16-bit grey to white instead of scaling it.
        picture = picture.point(lambda value: value / 257).convert("L")
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def fit(picture: Image.Image, target: Size, generated: Size) -> Image.Image:
    """`picture` filling `target` (scaled, then cropped centred), in the middle of `generated`.

    The rim up to the next multiple of 16 repeats the edge pixels, so that no false edge appears
    in a control map and the final crop lines up with the input.
    """
    fitted = ImageOps.fit(picture, target, Image.Resampling.LANCZOS)
    if target == generated:
        return fitted
    left, top, right, bottom = centred_box(generated, target)
    assert max(left, top, generated[0] - right, generated[1] - bottom) < MULTIPLE
    canvas = Image.new("RGB", generated)
    canvas.paste(fitted, (left, top))
    _repeat_edges(canvas, (left, top, right, bottom))
    return canvas


def _repeat_edges(canvas: Image.Image, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    width, height = canvas.size
    for x, source in [
        *((x, left) for x in range(left)),
        *((x, right - 1) for x in range(right, width)),
    ]:
        canvas.paste(canvas.crop((source, 0, source + 1, height)), (x, 0))
    for y, source in [
        *((y, top) for y in range(top)),
        *((y, bottom - 1) for y in range(bottom, height)),
    ]:
        canvas.paste(canvas.crop((0, source, width, source + 1)), (0, y))


def encode(picture: Image.Image, image_format: str, quality: int) -> bytes:
    """The file of a finished picture: jpeg, png or webp; quality is ignored by png."""
    buffer = io.BytesIO()
    if image_format == "png":
        picture.save(buffer, "PNG", compress_level=_PNG_LEVEL)
    elif image_format == "webp":
        picture.save(buffer, "WEBP", quality=quality, method=2)
    else:
        # Full colour resolution from 90 on, where the reader asked for quality.
        subsampling = 0 if quality >= 90 else 2
        picture.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()
