"""The EXIF block, read back by a parser of TIFF structures that knows nothing of ours."""

from __future__ import annotations

import struct

import pytest

from app.core.images.exif import exif_block

UNDEFINED = 7
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, UNDEFINED: 1}
MANDATORY = {0x9000: b"0232", 0x9101: b"\1\2\3\0", 0xA000: b"0100"}


def fields_at(block: bytes, offset: int) -> dict[int, tuple[int, bytes]]:
    """Type and value of each tag of the directory at `offset`."""
    (count,) = struct.unpack_from("<H", block, offset)
    fields = {}
    for index in range(count):
        entry = offset + 2 + 12 * index
        tag, kind, number, where = struct.unpack_from("<HHII", block, entry)
        length = SIZES[kind] * number
        if length <= 4:
            where = entry + 8
        assert where % 2 == 0
        assert where + length <= len(block)
        fields[tag] = kind, block[where : where + length]
    assert struct.unpack_from("<I", block, offset + 2 + 12 * count) == (0,)
    assert list(fields) == sorted(fields)
    return fields


@pytest.mark.parametrize("text", ["", "x", "even", "x" * 60_000], ids=len)
def test_every_mandatory_field_has_its_type_and_the_comment_is_undefined(text: str) -> None:
    block = exif_block(text, (640, 70_000))
    assert block[:8] == b"II*\0\x08\0\0\0"
    main = fields_at(block, 8)
    (offset,) = struct.unpack("<I", main[0x8769][1])
    details = fields_at(block, offset)
    assert details[0x9286] == (UNDEFINED, b"ASCII\0\0\0" + text.encode())
    for tag, value in MANDATORY.items():
        assert details[tag] == (UNDEFINED, value)
    assert details[0xA002][1] + details[0xA003][1] == struct.pack("<II", 640, 70_000)
    assert {0x011A, 0x011B, 0x0128, 0x0213} < main.keys()
    assert len(block) <= len(text) + 200
