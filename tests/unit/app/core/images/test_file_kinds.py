"""File kinds by their first bytes: those that are decoded, and those that are only named."""

from __future__ import annotations

import pytest

from app.core.images.file_kinds import other_kind, picture_kind
from tests.support.picture_files import bombs, saved, sound
from tests.support.pictures import astronaut

SMALL = astronaut((8, 8))


def ftyp(*brands: bytes) -> bytes:
    return (
        (16 + 4 * len(brands[1:])).to_bytes(4)
        + b"ftyp"
        + brands[0]
        + bytes(4)
        + b"".join(brands[1:])
    )


PICTURES = {
    "jpeg": saved(SMALL, "JPEG"),
    "png": saved(SMALL, "PNG"),
    "webp": saved(SMALL, "WEBP"),
    "gif": saved(SMALL, "GIF"),
    "bmp": saved(SMALL, "BMP"),
    "tiff": saved(SMALL, "TIFF"),
    "avif": saved(SMALL, "AVIF"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures(kind: str) -> None:
    assert picture_kind(PICTURES[kind]) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (ftyp(b"heic", b"mif1"), "heic"),
        (ftyp(b"heix", b"mif1"), "heic"),
        (ftyp(b"hevc"), "heic"),
        (ftyp(b"mif1", b"miaf", b"heic"), "heic"),
        (ftyp(b"mif1", b"avif"), "avif"),
        (ftyp(b"avis", b"msf1"), "avif"),
        (ftyp(b"avif", b"heic"), "avif"),
        (ftyp(b"mif1"), "heif"),
        (ftyp(b"msf1", b"iso8"), "heif"),
        (b"II+\0\x08\0\0\0", "tiff"),
        (b"MM\0*", "tiff"),
    ],
)
def test_heads_of_pictures(head: bytes, kind: str) -> None:
    assert picture_kind(head) == kind


OTHERS = {
    b"%PDF-1.7\n": "a PDF",
    b"8BPS\0\1": "a Photoshop file",
    b"\xff\x0a\xfa": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\0\0\1\0\1\0": "an icon (ICO)",
    b"II*\0\x10\0\0\0CR\2\0": "a raw photo (CR2)",
    ftyp(b"crx ", b"crx ", b"isom"): "a raw photo (CR3)",
    ftyp(b"isom", b"iso2", b"mp41"): "a video (MP4)",
    ftyp(b"qt  "): "a video (QuickTime)",
    b"\x1aE\xdf\xa3\x9fB": "a video (Matroska or WebM)",
    b"RIFF\0\0\0\0AVI LIST": "a video (AVI)",
    b"RIFF\0\0\0\0WAVEfmt ": "WAVE audio",
    b"PK\3\4\x14\0": "a ZIP archive",
    b"\x1f\x8b\x08\0": "gzip data",
    b"P6\n12 8\n255\n": "PNM",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>": "SVG",
    b"\xef\xbb\xbf\n<?xml version='1.0'?>\n<!-- x -->\n<SVG>": "SVG",
    "\ufeff<svg/>".encode("utf-16-le"): "SVG",
    b"<!DOCTYPE html><html><body><svg></svg>": "an HTML page",
    b"  <html lang='de'>": "an HTML page",
    b"<!-- of a proxy --><html>": "an HTML page",
    b"<p>Not found</p>": "HTML or XML",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": "XML",
    b'{"error": "not found"}': "JSON",
    b' [{"a": 1}]': "JSON",
    b"404 page not found\n": "plain text",
    "Bild nicht verfügbar".encode(): "plain text",
    b"version https://git-lfs.github.com/spec/v1\n": "plain text",
}


@pytest.mark.parametrize("head", OTHERS)
def test_other_kinds_are_named(head: bytes) -> None:
    assert picture_kind(head) is None
    assert other_kind(head) == OTHERS[head]
    assert other_kind(head + b" " * 5000) == OTHERS[head]


@pytest.mark.parametrize("data", [b"", bytes(100), b"\x80\x81", b"RIFF\0\0\0\0abcd", b"\xff\xd8"])
def test_an_unknown_file_kind_has_no_name(data: bytes) -> None:
    assert picture_kind(data) is None
    assert other_kind(data) is None


def test_every_file_that_is_read_is_known_by_its_beginning() -> None:
    assert {picture_kind(data) for data in (*sound().values(), *bombs().values())} == set(PICTURES)
