"""The attention preference: it must outlast the call that sets it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

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


def test_without_a_card_nothing_is_chosen() -> None:
    assert choose_attention(torch.device("cpu")) == "cpu"
