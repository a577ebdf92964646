"""Small ICC profiles with a conspicuous effect."""

from __future__ import annotations

import struct

# The primaries of sRGB, adapted to D50 as profiles want them.
_RED, _GREEN, _BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7142)
_D50 = (0.9642, 1.0, 0.8249)


def rotated_rgb() -> bytes:
    """Red says green, green says blue, blue says red."""
    curve = _curve(2.2)
    primaries = {b"rXYZ": _xyz(_GREEN), b"gXYZ": _xyz(_BLUE), b"bXYZ": _xyz(_RED)}
    curves = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    return _profile(b"mntr", b"RGB ", b"XYZ ", primaries | curves)


def linear_grey() -> bytes:
    """Half of 255 is half of the light, which is 188 in sRGB."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(1.0)})


def blue_cmyk() -> bytes:
    """Whatever the other inks, the colour is one blue that black makes darker: a table of its 16
    corners, of which every second one is black."""
    identity = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    matrix = b"".join(_fixed(float(i % 4 == 0)) for i in range(9))
    blue, black = bytes([76, 207, 20]), bytes([0, 128, 128])  # L, a, b
    table = head + matrix + identity * 4 + (blue + black) * 8 + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def _profile(kind: bytes, colours: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"wtpt": _xyz(_D50), **tags}
    start = 128 + 4 + 12 * len(tags)
    directory, data = b"", b""
    for name, value in tags.items():
        directory += name + struct.pack(">II", start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    size = start + len(data)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02100000, kind, colours, connection)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += b"".join(_fixed(part) for part in _D50)
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + directory + data


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(part) for part in value)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))
