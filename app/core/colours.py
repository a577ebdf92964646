"""Any picture of Pillow's -> plain RGB as a screen shows it: embedded colour profile applied, 16
bits scaled to 8, transparency laid on white, nothing but pixels kept. Knows nothing of files.
"""

from __future__ import annotations

import io

from PIL import Image, ImageCms

from app.core.errors import ImageRejected

_SRGB = ImageCms.createProfile("sRGB")
# The mode in which the pixels of each mode meet their profile.
_BASES = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"} | dict.fromkeys(
    ("P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"), "RGB"
)


def plain_rgb(picture: Image.Image) -> Image.Image:
    """A new picture without metadata. Raises ImageRejected for pixels that are no colours."""
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I;16"):
        picture = _eight_bits(picture)
    base = _BASES.get(picture.mode)
    if base is None:
        raise ImageRejected(
            f"image: {picture.mode} pixels are not read; use 8 or 16 bits of grey, RGB or CMYK"
        )
    key = picture.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:
        # A colour of 16 bits; the pixels have 8 by now, and another one may look like it.
        picture = picture.copy()
        del picture.info["transparency"]
    alpha = _alpha(picture)
    colours = _in_srgb(picture.convert(base), profile)
    plain = Image.new("RGB", picture.size, "white")
    plain.paste(colours, mask=alpha)
    return plain


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey to white instead of scaling it."""
    scaled = picture.convert("I").point(lambda value: value / 257 + 0.5).convert("L")
    scaled.info.pop("transparency", None)  # one grey in 16 bits; it names no grey in 8
    return scaled


def _alpha(picture: Image.Image) -> Image.Image | None:
    if "A" in picture.getbands() or "transparency" in picture.info:
        return picture.convert("RGBA").getchannel("A")
    return None


def _in_srgb(picture: Image.Image, profile: object) -> Image.Image:
    """Of a profile that is broken, or about other colours, no notice is taken."""
    if isinstance(profile, bytes):
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.buildTransform(embedded, _SRGB, picture.mode, "RGB").apply(picture)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return picture.convert("RGB")
