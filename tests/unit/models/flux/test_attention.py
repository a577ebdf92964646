"""The attention preference: it must outlast the call that sets it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.nn.attention import SDPBackend

from models.flux import attention
from models.flux.attention import choose_attention

pytestmark = pytest.mark.torch

PROGRAM = """
import gc
import torch
from torch.nn.attention import SDPBackend
from models.flux.attention import prefer_cudnn
prefer_cudnn()
gc.collect()
assert torch._C._get_sdp_priority_order()[0] == int(SDPBackend.CUDNN_ATTENTION)
query = torch.randn(1, 2, 8, 16)
torch.nn.functional.scaled_dot_product_attention(query, query, query)
"""


def test_cudnn_stays_preferred() -> None:
    # In a process of its own: the preference is the process's.
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-500:]


HOPPER, ADA, BLACKWELL = (9, 0), (8, 9), (10, 0)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[tuple[int, int], SDPBackend], str]]:
    """choose_attention on a card of a capability where torch picks a kernel. The tensors that torch
    is asked about are fake ones: they have a device, which need not be there, and no numbers."""

    def choose(capability: tuple[int, int], picked: SDPBackend) -> str:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)

        def pick(query: Tensor, key: Tensor, value: Tensor) -> int:
            assert query is key is value
            assert query.shape == (1, 24, 4608, 128)  # FLUX at 1024x1024
            assert (query.dtype, query.device.type) == (torch.bfloat16, "cuda")
            return picked.value

        monkeypatch.setattr(torch, "_fused_sdp_choice", pick)
        with FakeTensorMode():
            return choose_attention(torch.device("cuda", 0))

    before = torch._C._get_sdp_priority_order()
    yield choose
    attention._preferences.close()
    assert torch._C._get_sdp_priority_order() == before


@pytest.mark.parametrize(
    ("capability", "preferred"), [(HOPPER, True), (BLACKWELL, True), (ADA, False)]
)
def test_cudnn_is_preferred_from_hopper_on(
    card: Callable[[tuple[int, int], SDPBackend], str],
    capability: tuple[int, int],
    preferred: bool,
) -> None:
    usual = torch._C._get_sdp_priority_order()
    assert card(capability, SDPBackend.CUDNN_ATTENTION) == "CUDNN_ATTENTION"
    order = torch._C._get_sdp_priority_order()
    cudnn_first = [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ]
    if preferred:
        assert order[:4] == [backend.value for backend in cudnn_first]
    else:
        assert order == usual


@pytest.mark.parametrize(
    ("capability", "picked", "warned"),
    [
        (HOPPER, SDPBackend.CUDNN_ATTENTION, False),
        (HOPPER, SDPBackend.FLASH_ATTENTION, True),
        (ADA, SDPBackend.FLASH_ATTENTION, False),
    ],
)
def test_a_slow_kernel_on_a_fast_card_is_a_warning(
    card: Callable[[tuple[int, int], SDPBackend], str],
    caplog: pytest.LogCaptureFixture,
    capability: tuple[int, int],
    picked: SDPBackend,
    warned: bool,
) -> None:
    assert card(capability, picked) == picked.name
    assert [picked.name in record.getMessage() for record in caplog.records] == [True] * warned


def test_without_a_card_nothing_is_chosen() -> None:
    assert choose_attention(torch.device("cpu")) == "cpu"
