"""Orientation: only EXIF rotates a picture; as in browsers and libvips, XMP does not."""

from __future__ import annotations

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.core.images.decode import decode
from tests.support.picture_files import SIZE, filled, saved

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
    '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def with_xmp(image_format: str, **options: object) -> bytes:
    if image_format == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP)
        return saved(filled(), "PNG", pnginfo=text, **options)
    if image_format == "TIFF":
        return saved(filled(), "TIFF", tiffinfo={700: XMP.encode()}, **options)
    return saved(filled(), image_format, xmp=XMP.encode(), **options)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_xmp_turns_nothing(image_format: str) -> None:
    data = with_xmp(image_format)
    assert b"tiff:Orientation" in data
    assert decode(data, 1_000_000, 1_000_000).size == SIZE


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_exif_orientation_applies_as_well(image_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    data = with_xmp(image_format, exif=exif)
    assert decode(data, 1_000_000, 1_000_000).size == SIZE[::-1]
