"""libvips as an encoder, and as the decoder that is compared with."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np

os.environ.setdefault("VIPS_CONCURRENCY", "1")  # its threads cost more than such small pictures

import pyvips

from tests.support.differential.scenes import Array, Bytes8

logging.getLogger("pyvips").setLevel(logging.ERROR)  # what it cannot read is no news here

_INTERPRETATIONS = {
    ("uint8", 1): "b-w",
    ("uint8", 2): "b-w",
    ("uint16", 1): "grey16",
    ("uint16", 2): "grey16",
    ("uint16", 3): "rgb16",
    ("uint16", 4): "rgb16",
}


def image(pixels: Array, interpretation: str | None = None) -> pyvips.Image:
    """An array of height x width (x bands) as an image of libvips."""
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    kind = interpretation or _INTERPRETATIONS.get((str(pixels.dtype), bands), "srgb")
    made = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    return made.copy(interpretation=kind)


def saved(pixels: Array, suffix: str, interpretation: str | None = None, **options: Any) -> bytes:
    """options: those of libvips' saver; `orientation`, `icc` and `exif` become metadata."""
    made = image(pixels, interpretation)
    for option, field in (("icc", "icc-profile-data"), ("exif", "exif-data")):
        if option in options:
            made.set_type(pyvips.GValue.blob_type, field, options.pop(option))
    if "orientation" in options:
        made.set_type(pyvips.GValue.gint_type, "orientation", options.pop("orientation"))
    return bytes(made.write_to_buffer(suffix, **options))


def animation(frames: list[Array], suffix: str, **options: Any) -> bytes:
    """Frames of one size."""
    made = image(np.concatenate(frames))
    made.set_type(pyvips.GValue.gint_type, "page-height", frames[0].shape[0])
    return bytes(made.write_to_buffer(suffix, **options))


def profile(name: str) -> bytes:
    """One that libvips carries: srgb, p3 or cmyk."""
    return bytes(pyvips.Operation.call("profile_load", name))


def decoded(data: bytes) -> Bytes8:
    """The first frame as a viewer shows it. Raises pyvips.Error."""
    loaded = pyvips.Image.new_from_buffer(data, "", fail_on="error").autorot()
    if loaded.get_typeof("icc-profile-data"):
        loaded = loaded.icc_transform("srgb", embedded=True, intent="perceptual", depth=8)
    else:
        loaded = loaded.colourspace("srgb")
    if loaded.hasalpha():
        loaded = loaded.flatten(background=255)
    return np.asarray(loaded.cast("uchar").numpy()[..., :3])
