"""Code for a card that is not there: generated and compiled for one block, and its table."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._inductor.runtime.hints import DeviceProperties

from tools.gpubench.networks.shapes import TINY
from tools.kernelgen.cards import CARDS
from tools.kernelgen.cubins import CompiledGraph, Cubin, compile_kernels
from tools.kernelgen.generation import generate
from tools.kernelgen.missing_card import in_place_of
from tools.kernelgen.table import Row, table

pytestmark = [pytest.mark.tools, pytest.mark.torch]

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION is unset:UserWarning")
def test_a_block_in_8_bits_is_compiled_for_a_missing_card() -> None:
    (graph,) = generate(CARDS[90], TINY, "single", "8 bits")
    compiled = compile_kernels(graph.code, CARDS[90])
    assert not compiled.failures
    assert len(compiled.kernels) == compiled.launches == 5
    # Query, key and value in one product; the modulation is no 8-bit matrix product.
    assert compiled.libraries["_scaled_mm"] == 3
    assert compiled.libraries["_scaled_dot_product_cudnn_attention"] == 1
    assert compiled.buffers > 0
    for cubins in compiled.kernels.values():
        assert cubins
        assert all(cubin.size > 1000 and 0 < cubin.registers <= 255 for cubin in cubins)
    assert ".item()" not in graph.code  # a number that the host would read in every call


def test_a_kernel_that_does_not_compile_is_a_failure_with_its_name() -> None:
    source = "from torch._inductor.runtime import triton_heuristics\nraise ValueError('no kernel')"
    code = f"triton_one = async_compile.triton('triton_one', '''{source}''', device_str='cuda')"
    compiled = compile_kernels(code, CARDS[80])
    assert compiled.failures == {"triton_one": "ValueError: no kernel"}
    assert not compiled.kernels


def test_a_missing_card_is_seen_only_inside() -> None:
    before = torch.cuda.is_available()
    with in_place_of(CARDS[80]):
        assert torch.cuda.is_available()
        assert torch.cuda.get_device_capability() == (8, 0)
        assert DeviceProperties.create(torch.device("cuda", 0)).cc == 80
    with in_place_of(CARDS[120]):
        assert DeviceProperties.create(torch.device("cuda", 0)).cc == 120
    assert torch.cuda.is_available() == before


def test_the_table_shows_the_configuration_that_spills_least() -> None:
    graph = CompiledGraph(
        kernels={
            "one": [Cubin(1000, 255, 64, 808), Cubin(2000, 40, 128, 0)],
            "two": [Cubin(3000, 30, 256, 8)],
        },
        failures={},
        launches=3,
        libraries=Counter({"addmm": 2, "_scaled_mm": 1}),
        buffers=4,
    )
    *_, line = table([Row(90, "single, 8 bits", graph, 12.4)]).splitlines()
    assert line == (
        "| sm_90 | single, 8 bits | 2 | 3 | 1 `_scaled_mm`, 2 `addmm` | 4 | 3 | 1 | 6 | 40 | 256 "
        "| 12 |"
    )
    failing = replace(graph, failures={"three": "no"})
    assert "| 2, 1 fail |" in table([Row(90, "single, 8 bits", failing, 1)])


def test_an_unknown_architecture_is_refused() -> None:
    command = [sys.executable, "-m", "tools.kernelgen", "--arch", "90,35"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.strip() == "bench kernels: no card of sm_35 is known"
