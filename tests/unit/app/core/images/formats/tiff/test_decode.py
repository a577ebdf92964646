"""TIFF: the samples become the right colours, or the file is refused with a reason."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.errors import ImageRejected
from app.core.images.decode import decode
from tests.support.profiles import rotated_rgb
from tests.support.tiff_files import (
    ASSOCIATED,
    CIELAB,
    CMYK,
    DEFLATE,
    GREY,
    GREY_FROM_WHITE,
    ICCLAB,
    PACKBITS,
    PALETTE,
    RAW,
    RGB,
    UNASSOCIATED,
    YCBCR,
    assembled,
    tiff,
)

WIDE, HIGH = 21, 18
Shares = NDArray[np.float64]


def shares(channels: int) -> Shares:
    """(height, width, channels), from 0 to 1, and every channel different."""
    rows, columns = np.mgrid[0:HIGH, 0:WIDE]
    ramps = [columns / (WIDE - 1), rows / (HIGH - 1), 1 - columns / (WIDE - 1), rows * 0 + 0.4]
    ramps += [1 - rows / (HIGH - 1)]
    return np.stack(ramps[:channels], axis=-1)


def whole(values: Shares, bits: int) -> NDArray[np.generic]:
    """As integers of so many bits."""
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    return np.rint(values * (2**bits - 1)).astype(kind)


def pixels(data: bytes) -> NDArray[np.int64]:
    return np.asarray(decode(data, 10_000_000, 1_000_000)).astype(np.int64)


def assert_shows(data: bytes, expected: Shares, tolerance: float = 1) -> None:
    """expected: from 0 to 255."""
    if expected.shape[2] == 1:
        expected = expected.repeat(3, axis=2)
    shown = pixels(data)
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() <= tolerance


def on_white(colours: Shares, alpha: Shares) -> Shares:
    return (colours * alpha + 1 - alpha) * 255


LAYOUTS = {
    "strip": {},
    "strips": {"rows_per_strip": 5},
    "tiles": {"tile": (16, 16)},
    "deflate": {"compression": DEFLATE, "rows_per_strip": 5},
    "deflated tiles": {"compression": DEFLATE, "tile": (16, 16)},
    "PackBits": {"compression": PACKBITS, "rows_per_strip": 7},
    "differences": {"compression": DEFLATE, "predictor": 2, "tile": (16, 16)},
}


@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_every_kind(layout: str, bits: int, order: str, planar: bool) -> None:
    options = {"order": order, "planar": planar, **LAYOUTS[layout]}
    colours, alpha = shares(3), shares(4)[:, :, 3:]
    assert_shows(tiff(whole(colours, bits), RGB, **options), colours * 255)
    clear = np.concatenate([colours, alpha], axis=2)
    data = tiff(whole(clear, bits), RGB, tags={338: [UNASSOCIATED]}, **options)
    assert_shows(data, on_white(colours, alpha), 2)
    inks = np.concatenate([1 - colours, alpha], axis=2)
    assert_shows(tiff(whole(inks, bits), CMYK, **options), colours * (1 - alpha) * 255, 2)
    assert_shows(tiff(whole(colours[:, :, :1], bits), GREY, **options), colours[:, :, :1] * 255)


@pytest.mark.parametrize("fill_order", [1, 2])
@pytest.mark.parametrize("bits", range(1, 17))
def test_grey_of_every_depth(bits: int, fill_order: int) -> None:
    grey = shares(1)
    numbers = whole(grey, bits)
    seen = numbers.astype(float) * 255 / (2**bits - 1)
    assert_shows(tiff(numbers, GREY, bits=bits, fill_order=fill_order), seen)
    turned = (2**bits - 1 - numbers.astype(int)).astype(numbers.dtype)
    assert_shows(tiff(turned, GREY_FROM_WHITE, bits=bits, fill_order=fill_order), seen)


@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("bits", [2, 5, 9, 10, 12, 14])
def test_colours_of_odd_depths(bits: int, planar: bool) -> None:
    numbers = whole(shares(3), bits)
    seen = numbers.astype(float) * 255 / (2**bits - 1)
    for options in ({}, {"compression": DEFLATE}, {"tile": (16, 16)}):
        assert_shows(tiff(numbers, RGB, bits=bits, planar=planar, **options), seen)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12])
def test_a_palette_of_every_depth(bits: int) -> None:
    size = 2**bits
    palette = np.random.default_rng(bits).integers(0, 256, (size, 3))
    rows, columns = np.mgrid[0:HIGH, 0:WIDE]
    indices = ((rows * 31 + columns * 7) % size).astype(np.uint8 if bits <= 8 else np.uint16)
    for factor in (257, 256, 1):  # 16 bits, as two kinds of writers make them, and 8
        data = tiff(
            indices[:, :, None],
            PALETTE,
            bits=bits,
            tags={320: (palette.T * factor).ravel().tolist()},
        )
        assert_shows(data, palette[indices].astype(float))


# ---- transparency


@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_associated_or_not(channels: int, bits: int, planar: bool) -> None:
    colours, alpha = shares(channels), shares(5)[:, :, 4:]
    photometric = GREY if channels == 1 else RGB
    for kind in (ASSOCIATED, UNASSOCIATED):
        stored = colours * alpha if kind == ASSOCIATED else colours
        numbers = whole(np.concatenate([stored, alpha], axis=2), bits)
        data = tiff(numbers, photometric, planar=planar, tags={338: [kind]})
        assert_shows(data, on_white(colours, alpha), 2)


def test_a_further_sample_that_is_no_alpha_is_ignored() -> None:
    colours = shares(4)
    data = tiff(whole(colours, 16), RGB, tags={338: [0]})
    assert_shows(data, colours[:, :, :3] * 255)


# ---- numbers with a range of their own


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("predictor", [1, 3])
def test_floats_from_0_to_1(kind: type, order: str, predictor: int) -> None:
    colours = shares(3) * 0.7 + 0.1
    for options in ({}, {"planar": True}, {"tile": (16, 16)}):
        data = tiff(
            colours.astype(kind),
            RGB,
            order=order,
            compression=DEFLATE,
            predictor=predictor,
            **options,
        )
        assert_shows(data, colours * 255)


@pytest.mark.parametrize(("low", "high"), [(0.5, 12.25), (-1, 1), (0, 255), (-70000, 3)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_other_floats_are_scaled_by_what_there_is(kind: type, low: float, high: float) -> None:
    grey = shares(1)
    data = tiff((grey * (high - low) + low).astype(kind), GREY)
    assert_shows(data, grey * 255)


def test_no_number_is_black() -> None:
    grey = shares(1).astype(np.float32)
    grey[3, 4], grey[5, 6] = np.nan, np.inf
    shown = pixels(tiff(grey, GREY))
    assert (shown[3, 4].tolist(), shown[5, 6].tolist()) == ([0, 0, 0], [255, 255, 255])
    assert abs(shown[10, 10, 0] - grey[10, 10, 0] * 255) <= 1


@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize(("kind", "top"), [(np.uint32, 2**32 - 1), (np.int32, 2**31 - 1)])
def test_integers_of_32_bits(kind: type, top: int, predictor: int, planar: bool) -> None:
    colours = shares(3)
    numbers = np.rint(colours * 0.8 * top).astype(kind)
    data = tiff(numbers, RGB, compression=DEFLATE, predictor=predictor, planar=planar)
    assert_shows(data, colours * 0.8 * 255)
    few = np.rint(colours * 60_000).astype(kind)
    assert_shows(tiff(few, RGB, compression=RAW, planar=planar), colours * 255)


def test_integers_below_nothing() -> None:
    grey = shares(1)
    numbers = np.rint((grey * 2 - 1) * (2**31 - 1)).astype(np.int32)
    assert_shows(tiff(numbers, GREY), grey * 255)


# ---- Lab

COLOURS = [(255, 255, 255), (0, 0, 0), (119, 119, 119), (200, 90, 60), (70, 140, 90), (90, 80, 180)]
# Of sRGB with its own white, D65, and adapted to D50 as profiles are.
TO_XYZ = {
    CIELAB: np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ),
    ICCLAB: np.array(
        [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7142]]
    ),
}


def lab_of(colour: tuple[int, int, int], photometric: int) -> tuple[float, float, float]:
    """CIE 1976, from the definition."""
    linear = [
        part / 3294.6 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour
    ]
    to_xyz = TO_XYZ[photometric]
    relative = to_xyz @ linear / to_xyz.sum(axis=1)
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in relative)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [CIELAB, ICCLAB])
def test_lab(photometric: int, bits: int, colour: tuple[int, int, int]) -> None:
    light, a, b = lab_of(colour, photometric)
    if photometric == CIELAB:
        factor = 1 if bits == 8 else 256
        values = [light / 100 * (2**bits - 1), a * factor % 2**bits, b * factor % 2**bits]
    else:
        top = 255 if bits == 8 else 65280
        values = [light / 100 * top, (a + 128) * (top // 255), (b + 128) * (top // 255)]
    kind = np.uint8 if bits == 8 else np.uint16
    numbers = np.full((HIGH, WIDE, 3), np.rint(values).clip(0, 2**bits - 1)).astype(kind)
    shown = np.full((HIGH, WIDE, 3), colour, float)
    tolerance = 3 if bits == 8 else 1
    for options in ({}, {"planar": True}, {"compression": DEFLATE, "tile": (16, 16)}):
        assert_shows(tiff(numbers, photometric, **options), shown, tolerance)


@pytest.mark.parametrize("colour", COLOURS)
def test_lab_in_floats_and_signed(colour: tuple[int, int, int]) -> None:
    """As libvips writes it."""
    light, a, b = lab_of(colour, CIELAB)
    shown = np.full((HIGH, WIDE, 3), colour, float)
    assert_shows(tiff(np.full((HIGH, WIDE, 3), (light, a, b), np.float32), CIELAB), shown)
    values = np.rint([light * 655.35, a * 256 % 65536, b * 256 % 65536]).astype(np.uint16)
    signed = np.full((HIGH, WIDE, 3), values).view(np.int16)
    assert_shows(tiff(signed, CIELAB), shown)


# ---- what libtiff does


def test_subsampled_ycbcr() -> None:
    """Two rows and two columns share their chroma: 4 luma, then Cb and Cr."""
    red, grey = bytes([76] * 4 + [85, 255]), bytes([90] * 4 + [128, 128])
    for compression, body in ((RAW, red + grey), (DEFLATE, zlib.compress(red + grey))):
        data = assembled(
            body,
            {
                256: ("I", [4]),
                257: ("I", [2]),
                258: ("H", [8, 8, 8]),
                259: ("H", [compression]),
                262: ("H", [YCBCR]),
                273: ("I", [8]),
                277: ("H", [3]),
                278: ("I", [2]),
                279: ("I", [len(body)]),
                530: ("H", [2, 2]),
            },
        )
        shown = pixels(data)
        assert np.abs(shown[:, :2] - (254, 0, 0)).max() <= 2
        assert np.abs(shown[:, 2:] - 90).max() <= 1


# ---- upright, and in its profile


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    upright = shares(3)
    turns = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    data = tiff(whole(turns[orientation], 16), RGB, planar=True, tags={274: [orientation]})
    assert_shows(data, upright * 255)


def test_a_profile() -> None:
    profile = rotated_rgb()
    red = np.zeros((HIGH, WIDE, 3), np.uint16)
    red[:, :, 0] = 65535
    numbers = struct.unpack(f"<{len(profile) // 2}H", profile)
    plain = tiff(red, RGB, planar=True, tags={34675: numbers})
    entry = plain.index(struct.pack("<HH", 34675, 3))
    data = bytearray(plain)
    struct.pack_into("<HHI", data, entry, 34675, 7, len(profile))
    assert pixels(bytes(data))[0, 0].tolist() == [0, 255, 0]


# ---- refused for what they are


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(whole(shares(1), 8).view(np.int8), GREY), "a TIFF of 8-bit signed integers"),
        (tiff(whole(shares(1), 16).view(np.int16), GREY), "a TIFF of 16-bit signed integers"),
        (tiff(whole(shares(1), 32), GREY, bits=24), "a TIFF of 24-bit integers"),
        (tiff(whole(shares(1), 32).astype(np.uint64), GREY), "a TIFF of 64-bit integers"),
        (tiff(whole(shares(1), 16), 32803), "a TIFF of photometric interpretation 32803"),
        (tiff(whole(shares(2), 8), RGB), "a TIFF of 2 samples a pixel of this kind"),
        (tiff(whole(shares(5), 8), CMYK, tags={332: [2]}), "a TIFF of 5 samples a pixel of this"),
        (tiff(whole(shares(3), 8), RGB, tags={259: [34712]}), "a TIFF of compression 34712"),
        (tiff(whole(shares(3), 8), RGB, tags={258: [5, 6, 5]}), "a TIFF whose samples are not"),
        (tiff(whole(shares(3), 8), RGB, tags={50706: [1, 4]}), r"a raw photo \(DNG\)"),
    ],
)
def test_an_unsupported_tiff_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageRejected, match=f"^image: {reason}.* is not read$"):
        pixels(data)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_samples_are_damage(layout: str) -> None:
    data = tiff(whole(shares(3), 16), RGB, planar=True, **LAYOUTS[layout])
    start = struct.unpack_from("<I", data, 4)[0]
    body = data[:8] + data[8 + start // 2 : start]  # the directory keeps its place
    cut = body + bytes(start - len(body)) + data[start:]
    at = 324 if "tile" in LAYOUTS[layout] else 273
    entry = cut.index(struct.pack("<HH", at, 4), start)
    beyond = bytearray(cut)
    struct.pack_into("<HHII", beyond, entry, at, 4, 10_000, len(cut) - 8)
    with pytest.raises(ImageRejected, match="damaged or truncated"):
        pixels(bytes(beyond))


def test_few_bytes_that_promise_much_take_little() -> None:
    """A thousand tags, each of which claims all bytes of the file as its values."""
    body = bytes(200_000)
    entries = b"".join(struct.pack("<HHII", tag, 1, 200_000, 8) for tag in range(256, 1256))
    head = b"II*\0" + struct.pack("<I", 8 + len(body))
    data = head + body + struct.pack("<H", 1000) + entries + bytes(4)
    with pytest.raises(ImageRejected):
        pixels(data)
