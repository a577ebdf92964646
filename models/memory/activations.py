"""The bytes that a picture takes on a card beside the weights, by its size and the arithmetic.

The figures are those of FLUX.1-dev with its Union ControlNet at batch 1 and 512 text tokens, where
a pixel is 1/256 of an image token. tests/unit/models/memory/test_activations.py recounts them on
tensors without data, and tests/unit/tools/test_kernelgen_memory.py a compiled block in the code
that Inductor generates. They include neither weights nor the workspaces of CUDA's libraries. Knows
no plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto


class Arithmetic(Enum):
    """How the blocks' linear layers multiply: in bfloat16, on 8-bit matrix units, or with 8-bit
    weights on a device that lacks such units."""

    EXACT = auto()
    FLOAT8 = auto()
    FLOAT8_EMULATED = auto()


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Counted bytes. fixed: the text tokens' share, and weights that are converted for a call."""

    per_pixel: int
    fixed: int

    def of(self, pixels: int) -> int:
        return (self.per_pixel * pixels + self.fixed) * (100 + _MARGIN) // 100

    def largest(self, room: int) -> int:
        """The most pixels for which of() does not exceed `room`; at least 0."""
        counted = (100 * room + 99) // (100 + _MARGIN)
        return max(0, (counted - self.fixed) // self.per_pixel)


_MARGIN = 5
"""Percent added to the counted bytes, for blocks that the allocator cannot fill."""

_SAMPLER = 16
"""x, predictions and noise of a sampler: up to 16 tensors of latents in float32, a byte a pixel."""

_REQUEST = _Bytes(38, 8_000_000)
"""Held from the first evaluation to the decoded picture: rotary tables, text, control map, and the
latents of the result and of the step cache."""

_EVALUATION = {
    (Arithmetic.EXACT, False): _Bytes(826 + _SAMPLER, 61_000_000),
    (Arithmetic.FLOAT8, False): _Bytes(1210 + _SAMPLER, 112_000_000),
    (Arithmetic.FLOAT8_EMULATED, False): _Bytes(1270 + _SAMPLER, 214_000_000),
    (Arithmetic.EXACT, True): _Bytes(682 + _SAMPLER, 42_000_000),
    (Arithmetic.FLOAT8, True): _Bytes(622 + _SAMPLER, 35_000_000),
    (Arithmetic.FLOAT8_EMULATED, True): _Bytes(802 + _SAMPLER, 58_000_000),
}
"""By arithmetic and whether the blocks are compiled. 15 residuals are 360 bytes a pixel of it."""

_LORAS = 120
"""Further bytes a pixel of an evaluation with LoRAs in compiled blocks in 8 bits: they hold five
more rows a token. All others have their peak elsewhere."""

_DECODER = _Bytes(1537 + _REQUEST.per_pixel, _REQUEST.fixed)
_TILES = _Bytes(11 + _REQUEST.per_pixel, _REQUEST.fixed + 1537 * 1024**2)


def evaluation_bytes(
    pixels: int, arithmetic: Arithmetic, compiled: bool, adapted: bool = False
) -> int:
    """Peak of one evaluation with the ControlNet, for a picture of at least 1024x1024. adapted:
    with LoRAs."""
    return _evaluation(arithmetic, compiled, adapted).of(pixels)


def _evaluation(arithmetic: Arithmetic, compiled: bool, adapted: bool) -> _Bytes:
    plain = _EVALUATION[arithmetic, compiled]
    if adapted and compiled and arithmetic is not Arithmetic.EXACT:
        return replace(plain, per_pixel=plain.per_pixel + _LORAS)
    return plain


def decoding_bytes(pixels: int) -> int:
    """Peak of decoding a picture in one piece, with what its request still holds. Encoding its
    control map takes less."""
    return _DECODER.of(pixels)


def tiled_bytes(pixels: int) -> int:
    """Peak of decoding a picture in tiles of 1024x1024; encoding takes less.

    A tile is decoded while the results of all earlier ones are held; tiles are blended in place.
    """
    return _TILES.of(pixels)


def largest_pixels(room: int, arithmetic: Arithmetic, compiled: bool, adapted: bool = False) -> int:
    """The largest picture that can be evaluated, and decoded in tiles, in `room` bytes; 0 if none
    can. adapted: with LoRAs."""
    evaluated = _evaluation(arithmetic, compiled, adapted).largest(room)
    return min(evaluated, _TILES.largest(room))


def largest_decoding(room: int) -> int:
    """The largest picture that can be decoded in one piece in `room` bytes; 0 if none can."""
    return _DECODER.largest(room)
