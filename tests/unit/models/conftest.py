"""A CUDA device of fake tensors. torch is imported by the fixture that needs it."""

from __future__ import annotations

import pytest


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What FakeTensorMode lacks: streams and events, and pinned memory. The sizes of the host
    buffers, as they are allocated."""
    import torch

    from models.flux import weight_streaming

    sizes: list[int] = []

    def host_buffer(size: int) -> torch.Tensor:
        sizes.append(size)
        return torch.empty(size, dtype=torch.uint8)

    for name in ("Stream", "Event", "current_stream", "stream", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, getattr(torch.cpu, name))
    for name in ("pin", "unpin"):
        monkeypatch.setattr(weight_streaming, name, lambda *_: None)
    monkeypatch.setattr(weight_streaming, "host_buffer", host_buffer)
    return sizes
