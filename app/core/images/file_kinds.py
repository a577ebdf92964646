"""Detects the kind of a file from its first bytes. Decodes nothing and imports no library, so that
the api can use it.
"""

from __future__ import annotations

import re

READ = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC are read"

_PICTURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),  # BigTIFF
    (b"MM\0+", "tiff"),
)
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIF_BRANDS = frozenset((b"mif1", b"mif2", b"msf1", b"miaf"))

_OTHERS = (
    (b"%PDF-", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"\0\0\2\0", "a cursor (CUR)"),
    (b"icns", "an icon (ICNS)"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"IIRO", "a raw photo (ORF)"),
    (b"IIU\0", "a raw photo (RW2)"),
    (b"FUJIFILMCCD-RAW", "a raw photo (RAF)"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"DDS ", "a DDS texture"),
    (b"\xabKTX ", "a KTX texture"),
    (b"gimp xcf", "a GIMP file"),
    (b"qoif", "QOI"),
    (b"farbfeld", "farbfeld"),
    (b"/* XPM", "XPM"),
    (b"SIMPLE  =", "FITS"),
    (b"PK\3\4", "a ZIP archive"),
    (b"PK\5\6", "a ZIP archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\0", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
    (b"OggS", "an Ogg file"),
    (b"FLV\1", "a video (FLV)"),
    (b"\0\0\1\xba", "a video (MPEG)"),
    (b"\0\0\1\xb3", "a video (MPEG)"),
    (b"ID3", "an MP3"),
    (b"fLaC", "FLAC audio"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF\r\n", "HDF5"),
)
_RIFF = {b"AVI ": "a video (AVI)", b"WAVE": "WAVE audio"}
_NETPBM = re.compile(rb"P[1-7Ff][\s#]")
_MARKUP = re.compile(rb"\s*<(?:[!?a-z])", re.IGNORECASE)
_JSON = re.compile(rb'\s*(?:\{\s*["}]|\[\s*["{\[\d\]])')
_TAGS = ((b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<svg", "SVG"))
_HEAD = 4096  # bytes that identify a text
_MAX_BRANDS = 64


def picture_kind(data: bytes) -> str | None:
    """The kind of a supported picture: jpeg, png, webp, gif, bmp, tiff, avif, heic or heif."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _heif_kind(data)
    if data[:4] in (b"II*\0", b"MM\0*") and data[8:10] == b"CR":
        return None  # a raw photo (CR2) with a TIFF header
    return next((kind for magic, kind in _PICTURES if data.startswith(magic)), None)


def other_kind(data: bytes) -> str | None:
    """The kind of an unsupported file, with its article ("a PDF"); None if unknown."""
    head = data[:_HEAD]
    if not head:
        return None
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _media_kind(head[8:12])
    if head[:4] in (b"II*\0", b"MM\0*") and head[8:10] == b"CR":
        return "a raw photo (CR2)"
    for magic, kind in _OTHERS:
        if head.startswith(magic):
            return kind
    if _NETPBM.match(head):
        return "PNM"
    return _text_kind(head)


def complaint(data: bytes) -> str:
    """The error text for a file that is not a supported picture."""
    if not data:
        return "the file is empty"
    other = other_kind(data)
    return "not a picture" if other is None else f"this is {other}"


def _heif_kind(data: bytes) -> str | None:
    """The major brand decides; if it implies no codec, the compatible brands do."""
    length = min(int.from_bytes(data[:4]), 16 + 4 * _MAX_BRANDS)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, length - 3, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "avif"
        if brand in _HEIC_BRANDS:
            return "heic"
    return "heif" if _HEIF_BRANDS.intersection(brands) else None


def _media_kind(brand: bytes) -> str:
    if brand == b"crx ":
        return "a raw photo (CR3)"
    if brand.startswith(b"M4A"):
        return "audio (M4A)"
    return "a video (QuickTime)" if brand == b"qt  " else "a video (MP4)"


def _text_kind(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf")
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16
        text = text[2:].replace(b"\0", b"")
    if _MARKUP.match(text):
        lower = text.lower()
        # An HTML page may contain an SVG: the first tag decides.
        tags = [(lower.find(tag), kind) for tag, kind in _TAGS if tag in lower]
        return min(tags)[1] if tags else _other_markup(lower)
    if _JSON.match(text):
        return "JSON"
    return "plain text" if _is_plain(text) else None


def _other_markup(lower: bytes) -> str:
    return "XML" if lower.lstrip().startswith(b"<?xml") else "HTML or XML"


def _is_plain(text: bytes) -> bool:
    """UTF-8 without control characters; the last character may be truncated."""
    try:
        plain = text.decode() if len(text) < _HEAD - 4 else text.decode(errors="ignore")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\r\n\t" for character in plain)
