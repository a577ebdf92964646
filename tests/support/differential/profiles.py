"""Colour profiles by the kind of pixels that they are about."""

from __future__ import annotations

import imagecodecs

from tests.support.differential import libvips
from tests.support.profiles import blue_cmyk, rotated_rgb

PROFILES: dict[str, dict[str, bytes]] = {
    "RGB": {
        "sRGB": libvips.profile("srgb"),
        "Display P3": libvips.profile("p3"),
        "Adobe RGB": bytes(imagecodecs.cms_profile("adobergb")),
        "turned primaries": rotated_rgb(),
    },
    "L": {
        "gamma 2.2": bytes(imagecodecs.cms_profile("gray", gamma=2.2)),
        "linear": bytes(imagecodecs.cms_profile("gray", gamma=1.0)),
    },
    "CMYK": {"libvips": libvips.profile("cmyk"), "blue": blue_cmyk()},
}
