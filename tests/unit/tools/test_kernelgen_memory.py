"""The memory of compiled blocks, recounted in the code that Inductor generates for a card."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from models.memory.activations import Arithmetic
from tests.support.fake_networks import ADAPTED_WIDTHS, COMPILED_WIDTHS
from tools.gpubench.networks.shapes import FULL
from tools.kernelgen.cards import CARDS
from tools.kernelgen.generation import BLOCKS, generate
from tools.kernelgen.live_memory import peak_bytes

pytestmark = [pytest.mark.tools, pytest.mark.torch]

ROW = 3072 * 2
"""Bytes of a token in bfloat16."""

# sm_80 has no 8-bit matrix units.
CODE_OF = {
    Arithmetic.EXACT: (90, "bfloat16"),
    Arithmetic.FLOAT8: (90, "8 bits"),
    Arithmetic.FLOAT8_EMULATED: (80, "8 bits"),
}


def widths(arch: int, dtype: str) -> list[tuple[float, float]]:
    """Rows a token of the double and the single block, by two sizes; without and with LoRAs, whose
    ranks share a graph."""
    blocks = [
        [width(graph.code) for graph in generate(CARDS[arch], FULL, block, dtype, (0, 16, 48))]
        for block in BLOCKS
    ]
    return list(zip(*blocks, strict=True))


def width(code: str) -> float:
    small, large = (peak_bytes(code, tokens) for tokens in (4096, 65536))
    return (large - small) / (65536 - 4096) / ROW


@pytest.mark.parametrize("arithmetic", Arithmetic)
def test_a_compiled_block_takes_the_stated_rows(arithmetic: Arithmetic) -> None:
    # torch caches what it read of a card, so each one gets a process of its own.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        plain, adapted = process.submit(widths, *CODE_OF[arithmetic]).result()
    assert plain == pytest.approx(COMPILED_WIDTHS[arithmetic], rel=0.002)
    assert adapted == pytest.approx(ADAPTED_WIDTHS[arithmetic], rel=0.002)
