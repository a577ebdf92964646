"""Host buffers: exact sizes, pages of their own, and errors that say what the host lacks."""

from __future__ import annotations

import mmap
from types import SimpleNamespace

import pytest
import torch

from models.errors import CheckpointError
from models.flux.host_buffers import host_buffer, pin, unpin

pytestmark = pytest.mark.torch

REFUSED = 2  # cudaErrorMemoryAllocation


class Runtime:
    """The functions of CUDA's runtime that pin memory. pinned: address -> bytes."""

    def __init__(self, code: int = 0) -> None:
        self.code, self.pinned = code, dict[int, int]()

    def cudaHostRegister(self, address: int, size: int, _flags: int) -> int:
        self.pinned[address] = size
        return self.code

    def cudaHostUnregister(self, address: int) -> int:
        del self.pinned[address]
        return self.code


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    runtime = Runtime()
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    return runtime


def test_buffers_are_pinned_with_their_exact_size_on_pages_of_their_own(runtime: Runtime) -> None:
    sizes = [1, 4096, 5000, 1_000_003]
    buffers = [host_buffer(size) for size in sizes]
    for buffer in buffers:
        pin(buffer)
    assert list(runtime.pinned.values()) == sizes
    assert not any(address % mmap.PAGESIZE for address in runtime.pinned)
    assert [buffer.nbytes for buffer in buffers] == sizes
    unpin(buffers, torch.device("cuda"))
    assert not runtime.pinned


def test_a_buffer_keeps_what_is_written() -> None:
    buffer = host_buffer(1_000_003)
    buffer.fill_(7)
    assert int(buffer.sum(dtype=torch.int64)) == 7 * 1_000_003


def test_a_host_that_cannot_lock_memory_is_told_the_limit(runtime: Runtime) -> None:
    runtime.code = REFUSED
    with pytest.raises(
        CheckpointError, match=r"0\.50 GB .* CUDA error 2; .* RAM.*ulimit -l"
    ) as error:
        pin(SimpleNamespace(data_ptr=lambda: 0, nbytes=500_000_000))
    assert "\n" not in str(error.value)


def test_a_host_without_memory_gets_one_line() -> None:
    with pytest.raises(CheckpointError, match=r"GB of host memory cannot be allocated") as error:
        host_buffer(2**62)
    assert "\n" not in str(error.value)
