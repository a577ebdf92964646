"""Converts a Pillow image of any mode to plain sRGB: colour profile applied, 16 bits scaled to 8,
transparency composited on white, metadata dropped. Knows no files.
"""

from __future__ import annotations

import io

from PIL import Image, ImageCms

from app.core.errors import ImageRejected

_SRGB = ImageCms.createProfile("sRGB")
# Mode -> the mode in which its colour profile applies.
_BASES = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"} | dict.fromkeys(
    ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"), "RGB"
)
_BASES["La"] = "L"
_WITH_ALPHA = frozenset(("LA", "La", "PA", "RGBA", "RGBa"))


def plain_rgb(picture: Image.Image, alpha: Image.Image | None = None) -> Image.Image:
    """A new image without metadata. alpha: of mode L, for an image whose mode has none. Raises
    ImageRejected for an unsupported mode."""
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I;16"):
        picture = _eight_bits(picture)
    base = _BASES.get(picture.mode)
    if base is None:
        raise ImageRejected(f"image: {picture.mode} pixels are not read; use grey, RGB or CMYK")
    if alpha is None:
        alpha = _alpha(picture)
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert(picture.mode.upper())
    colours = _in_srgb(picture.convert(base), profile)
    if alpha is None:
        colours.info = {}
        return colours
    plain = Image.new("RGB", picture.size, "white")
    plain.paste(colours, mask=alpha)
    return plain


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey to white instead of scaling it."""
    return picture.convert("I").point(lambda value: value / 257 + 0.5).convert("L")


def _alpha(picture: Image.Image) -> Image.Image | None:
    if picture.mode in _WITH_ALPHA:
        return picture.getchannel(picture.mode[-1])
    if "transparency" in picture.info:
        return picture.convert("RGBA").getchannel("A")
    return None


def _in_srgb(picture: Image.Image, profile: object) -> Image.Image:
    """Ignores a profile that is broken or of another colour space."""
    if isinstance(profile, bytes):
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.buildTransform(embedded, _SRGB, picture.mode, "RGB").apply(picture)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return picture.convert("RGB")
