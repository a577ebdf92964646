"""Makes the files beside it. Nothing of the project imports this: it needs an encoder of HEVC,
which the project does not install. Once, in a virtual environment of its own:

    pip install pillow-heif==1.8.1 && python tests/support/heic/make.py

All pictures are 64 by 64, in four quarters: red and green above blue and grey. `alpha` is clear in
its right half. `deep` has 10 bits, `limited` the narrow range and the matrix of BT.709.
"""

from pathlib import Path

import pillow_heif
from PIL import Image

SIZE = (64, 64)
QUARTERS = {(0, 0): (255, 0, 0), (32, 0): (0, 255, 0), (0, 32): (0, 0, 255), (32, 32): (90, 90, 90)}


def quarters() -> Image.Image:
    picture = Image.new("RGB", SIZE)
    for place, colour in QUARTERS.items():
        picture.paste(colour, (*place, place[0] + 32, place[1] + 32))
    return picture


def save(name: str, mode: str, data: bytes, **options: object) -> None:
    file = pillow_heif.from_bytes(mode, SIZE, data)
    file.save(Path(__file__).with_name(f"{name}.heic"), quality=-1, chroma=444, **options)


rgb = quarters()
clear = rgb.copy()
clear.putalpha(Image.new("L", SIZE, 255))
clear.paste((0, 255, 0, 0), (32, 0, 64, 64))
deep = b"".join((value * 257).to_bytes(2, "little") for value in rgb.tobytes())
save("plain", "RGB", rgb.tobytes())
save("alpha", "RGBA", clear.tobytes())
save("grey", "L", rgb.convert("L").tobytes())
save("deep", "RGB;16", deep)
save(
    "limited",
    "RGB",
    rgb.tobytes(),
    color_primaries=1,
    transfer_characteristics=1,
    matrix_coefficients=1,
    full_range_flag=0,
)
