"""STUB until the helper's file is merged."""

from __future__ import annotations

from enum import Enum


class Arithmetic(Enum):
    EXACT = "exact"
    FLOAT8 = "float8"
    FLOAT8_EMULATED = "float8 emulated"


_RATE = {Arithmetic.EXACT: 930, Arithmetic.FLOAT8: 1330, Arithmetic.FLOAT8_EMULATED: 1550}


def evaluation_bytes(pixels: int, arithmetic: Arithmetic, compiled: bool) -> int:
    return _RATE[arithmetic] * pixels + 20_000_000


def largest_pixels(room: int, arithmetic: Arithmetic, compiled: bool) -> int:
    return max(0, room - 20_000_000) // _RATE[arithmetic]


def decoding_bytes(pixels: int) -> int:
    return 1620 * pixels


def largest_decoding(room: int) -> int:
    return room // 1620
