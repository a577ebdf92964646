"""Picture files of every format, mode and oddity that is read, and files that only resemble them.

Used by tests of decoding and as the seeds of the fuzzer.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

from tests.support.profiles import rotated_rgb

SIZE = (12, 8)
SECRET = "secret-of-the-sender"
HTML = f"<html><script>alert('{SECRET}')</script></html>".encode()
ZIP = b"PK\x03\x04" + SECRET.encode() + b"PK\x05\x06" + bytes(18)


def filled(mode: str = "RGB", colour: Any = "red", size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new(mode, size, colour)


def saved(picture: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG of any kind, true to its header or not."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND", b"")


def png16(colour_type: int, *channels: int) -> bytes:
    """One 16-bit colour all over."""
    row = b"\0" + struct.pack(f">{len(channels)}H", *channels) * SIZE[0]
    return png(*SIZE, 16, colour_type, row * SIZE[1])


def tiff_rgb16(*channels: int) -> bytes:
    pixels = struct.pack("<3H", *channels) * (SIZE[0] * SIZE[1])
    tags = [
        (256, 3, 1, SIZE[0]),
        (257, 3, 1, SIZE[1]),
        (258, 3, 3, 8 + len(pixels)),  # three depths do not fit into the entry
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, 3),
        (278, 3, 1, SIZE[1]),
        (279, 4, 1, len(pixels)),
    ]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    offset = 8 + len(pixels) + 6
    depths = struct.pack("<3H", 16, 16, 16)
    ending = struct.pack("<H", len(tags)) + directory + bytes(4)
    return b"II*\0" + struct.pack("<I", offset) + pixels + depths + ending


def with_secrets(image_format: str) -> bytes:
    """A picture that tells of its sender in every place its format has."""
    exif = Image.Exif()
    exif[0x010E] = SECRET
    exif.get_ifd(0x8825)[29] = SECRET  # the date of a place on earth
    options: dict[str, Any] = {"exif": exif, "icc_profile": rotated_rgb() + SECRET.encode()}
    if image_format in ("JPEG", "WEBP", "AVIF"):
        options["xmp"] = SECRET.encode()
    if image_format in ("JPEG", "GIF"):
        options["comment"] = SECRET
    return saved(filled(), image_format, **options)


def oriented(image_format: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(filled(), image_format, exif=exif)


def animated(image_format: str) -> bytes:
    """Red first, then green and blue."""
    others = [filled(colour="green"), filled(colour="blue")]
    return saved(filled(), image_format, save_all=True, append_images=others, duration=50)


def scripted_gif() -> bytes:
    """A GIF whose width opens a comment of a script that stands behind its end."""
    gif = saved(filled(), "GIF")
    return b"GIF89a/*" + gif[8:] + b"*/=1;alert('" + SECRET.encode() + b"')"


def sound() -> dict[str, bytes]:
    """Every kind of file that is read, all of SIZE. Red where the mode can say it."""
    palette = filled().quantize(4)
    clear = filled("RGBA", (255, 0, 0, 128))
    files = {
        "PNG of 1 bit": saved(filled("1", 1), "PNG"),
        "PNG, grey": saved(filled("L", 76), "PNG"),
        "PNG, grey and alpha": saved(filled("LA", (76, 128)), "PNG"),
        "PNG, palette": saved(palette, "PNG"),
        "PNG, palette with a clear colour": saved(palette, "PNG", transparency=0),
        "PNG, palette with alphas": saved(palette, "PNG", transparency=bytes([128])),
        "PNG, RGB": saved(filled(), "PNG"),
        "PNG, RGB with a clear colour": saved(filled(), "PNG", transparency=(0, 0, 9)),
        "PNG, RGBA": saved(clear, "PNG"),
        "PNG, grey of 16 bits": png16(0, 0x4C4C),
        "PNG, RGB of 16 bits": png16(2, 0xFFFF, 0, 0),
        "PNG, grey and alpha of 16 bits": png16(4, 0x4C4C, 0x8080),
        "PNG, RGBA of 16 bits": png16(6, 0xFFFF, 0, 0, 0x8080),
        "JPEG": saved(filled(), "JPEG"),
        "JPEG, grey": saved(filled("L", 76), "JPEG"),
        "JPEG, progressive": saved(filled(), "JPEG", progressive=True),
        "JPEG, CMYK": saved(filled("CMYK", (0, 255, 255, 0)), "JPEG"),
        "JPEG of several": animated("MPO"),
        "WebP": saved(filled(), "WEBP"),
        "WebP, lossless": saved(clear, "WEBP", lossless=True),
        "GIF": saved(filled(), "GIF"),
        "GIF with a clear colour": saved(palette, "GIF", transparency=0),
        "BMP": saved(filled(), "BMP"),
        "BMP, palette": saved(palette, "BMP"),
        "BMP of 1 bit": saved(filled("1", 1), "BMP"),
        "TIFF, palette": saved(palette, "TIFF"),
        "TIFF, grey of 16 bits": saved(filled("I;16", 0x4C4C), "TIFF"),
        "TIFF, RGB of 16 bits": tiff_rgb16(0xFFFF, 0, 0),
        "TIFF, CMYK": saved(filled("CMYK", (0, 255, 255, 0)), "TIFF"),
        "TIFF, RGBA": saved(clear, "TIFF"),
        "TIFF, YCbCr": saved(filled().convert("YCbCr"), "TIFF"),
        "TIFF of 1 bit, as fax": saved(filled("1", 1), "TIFF", compression="group4"),
    }
    for mode in ("I", "F", "LAB"):
        files[f"TIFF of mode {mode}"] = saved(filled(mode, 0), "TIFF")
    files["AVIF"] = saved(filled(), "AVIF")
    files["AVIF with alpha"] = saved(clear, "AVIF")
    files["AVIF, grey"] = saved(filled(), "AVIF", subsampling="4:0:0")
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "lzma"):
        files[f"TIFF, {compression}"] = saved(filled(), "TIFF", compression=compression)
    for image_format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        files[f"{image_format}, animated"] = animated(image_format)
    for image_format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        files[f"{image_format} on its side"] = oriented(image_format, 6)
        files[f"{image_format} with everything"] = with_secrets(image_format)
    return files | polyglots()


def polyglots() -> dict[str, bytes]:
    """Pictures that are something else too."""
    return {
        "PNG and HTML": saved(filled(), "PNG") + HTML,
        "JPEG and ZIP": saved(filled(), "JPEG") + ZIP,
        "JPEG with PHP": saved(filled(), "JPEG", comment=f"<?php echo '{SECRET}'; ?>"),
        "WebP and HTML": saved(filled(), "WEBP") + HTML,
        "TIFF and ZIP": saved(filled(), "TIFF") + ZIP,
        "BMP and HTML": saved(filled(), "BMP") + HTML,
    }


def no_pictures() -> dict[str, bytes]:
    """What is not read, whatever it says of itself, by what is said of it."""
    return {
        "the file is empty": b"",
        "not a picture": bytes(1000),
        "this is an HTML page": HTML + saved(filled(), "PNG"),
        "this is a PDF": b"%PDF-1.4\n" + saved(filled(), "JPEG"),
        "this is a ZIP archive": ZIP,
        "this is gzip data": zlib.compress(saved(filled(), "PNG"), wbits=31),
        "this is SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
        "this is PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 8\n",
        "this is JPEG 2000": saved(filled(), "JPEG2000"),
        "this is an icon (ICO)": saved(filled(), "ICO"),
        "this is PNM": saved(filled(), "PPM"),
        "this is a Photoshop file": b"8BPS\0\1" + bytes(6) + struct.pack(">HII", 3, 8, 12),
        "this is a video (MP4)": b"\0\0\0\x18ftypmp42" + bytes(4) + b"mp42isom",
    }


def bombs() -> dict[str, bytes]:
    """Small files whose headers promise more pixels than are ever allowed."""
    riff = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 2)
    jpeg = saved(filled(), "JPEG")
    frame = jpeg.index(b"\xff\xc0") + 5
    gif = saved(filled(), "GIF")
    bmp = saved(filled(), "BMP")
    return {
        "PNG of 20 kB": saved(Image.new("1", (13_000, 13_000)), "PNG"),
        "PNG, only a header": png(60_000, 60_000, 8, 2, b""),
        "JPEG": jpeg[:frame] + struct.pack(">HH", 65_500, 65_500) + jpeg[frame + 4 :],
        "WebP": riff + (2**24 - 1).to_bytes(3, "little") + (200).to_bytes(3, "little"),
        "GIF": gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:],
        "BMP": bmp[:18] + struct.pack("<ii", 60_000, 60_000) + bmp[26:],
        "TIFF": tiff_of(60_000, 60_000),
    }


def tiff_of(width: int, height: int) -> bytes:
    tiff = bytearray(saved(filled("L", 0), "TIFF"))
    for tag, side in ((256, width), (257, height)):
        entry = next(
            at
            for at in range(8, len(tiff) - 12, 2)
            if struct.unpack_from("<HHI", tiff, at) in ((tag, 3, 1), (tag, 4, 1))
        )
        struct.pack_into("<HHII", tiff, entry, tag, 4, 1, side)
    return bytes(tiff)
