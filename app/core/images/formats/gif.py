"""GIF: the first frame on its canvas. The rest of the canvas is transparent, as in browsers; Pillow
fills it with the first colour of the palette.
"""

from __future__ import annotations

import io

from PIL import Image, ImageFile

from app.core.images.formats.still import Opened, Still


def open_gif(data: bytes) -> Opened:
    image = Image.open(io.BytesIO(data), formats=("GIF",))
    return Opened(image.size, image.size, lambda: _load(image))


def _load(image: Image.Image) -> Still:
    assert isinstance(image, ImageFile.ImageFile)
    box = image.tile[0].extents if image.tile else None
    image.load()
    if box is None or box == (0, 0, *image.size):
        return Still(image)
    canvas = Image.new("RGBA", image.size)
    canvas.paste(image.convert("RGBA").crop(box), box)
    return Still(canvas)
