"""Weight streaming: no module runs with other weights than its own, and the compiled graphs stay.

The CUDA path on fake tensors: their device, dtypes and addresses, and the compiled graphs.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import T5Config, T5EncoderModel

from models.flux import weight_streaming
from models.flux.compilation import compile_blocks, compiled_graphs
from models.flux.float8 import FORMAT, Float8Linear
from models.flux.host_buffers import host_buffer
from models.flux.weight_streaming import WeightStream
from models.memory.flat_layout import SLOTS, flat_bytes

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")


class Block(nn.Module):
    """Two dtypes, a buffer, an 8-bit layer, and a weight whose dimensions are in another order."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, 2 * width)
        self.linear.weight = nn.Parameter(self.linear.weight.detach().t().contiguous().t())
        self.eight = Float8Linear(nn.Linear(2 * width, width), CPU, native=False)
        self.register_buffer("shift", torch.randn(3, dtype=torch.float64), persistent=False)
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        if self.fails:
            raise ZeroDivisionError
        result: Tensor = self.eight(self.linear(self.norm(x))) + self.shift.sum().to(x.dtype)
        return result


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 32, generator=torch.Generator().manual_seed(1))


def blocks(count: int) -> list[nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(count)
        return [Block() for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_streamed_modules_have_the_results_of_resident_ones(seed: int, x: Tensor) -> None:
    streamed, resident = blocks(7), blocks(7)
    WeightStream(CPU).add(streamed)
    for index in (*range(7), *random.Random(seed).choices(range(7), k=30)):
        assert torch.equal(streamed[index](x), resident[index](x))


def test_a_streamed_text_encoder_has_the_results_of_a_resident_one() -> None:
    config = T5Config(d_model=32, d_kv=8, d_ff=48, num_heads=4, num_layers=5, vocab_size=60)
    streamed = T5EncoderModel(config).eval()
    resident = T5EncoderModel(config).eval()
    resident.load_state_dict(streamed.state_dict())
    WeightStream(CPU).add(streamed.encoder.block)
    tokens = torch.arange(22).reshape(2, 11)
    with torch.inference_mode():
        for _ in range(2):
            found, expected = streamed(tokens), resident(tokens)
            assert torch.equal(found.last_hidden_state, expected.last_hidden_state)


def test_an_error_in_a_call_changes_no_later_result(x: Tensor) -> None:
    streamed, resident = blocks(5), blocks(5)
    WeightStream(CPU).add(streamed)
    streamed[1].fails = True
    for index in (0, 1, 4, 2, 1, 1, 3, 0):
        if index == 1:
            with pytest.raises(ZeroDivisionError):
                streamed[1](x)
        else:
            assert torch.equal(streamed[index](x), resident[index](x))


def test_slots_have_the_size_of_the_largest_module_added_so_far(x: Tensor) -> None:
    streamed, resident = blocks(4), blocks(4)
    large, small = nn.Linear(32, 3000), nn.Linear(32, 1)
    expected = large(x), small(x)
    stream = WeightStream(CPU)
    stream.add(streamed)
    streamed[0](x)
    stream.add([large])
    stream.add([small])
    for _ in range(2):
        for module, other in zip(streamed, resident, strict=True):
            assert torch.equal(module(x), other(x))
        assert torch.equal(large(x), expected[0])
        assert torch.equal(small(x), expected[1])
    slots = {tensor.untyped_storage().nbytes() for tensor in tensors(small)}
    assert slots == {flat_bytes(large)}


def test_tensors_keep_their_kind_and_the_order_of_their_dimensions() -> None:
    [streamed], [resident] = blocks(1), blocks(1)
    before = resident.linear.weight.stride()
    WeightStream(CPU).add([streamed])
    assert streamed.linear.weight.stride() == before == (1, 64)
    assert not any(parameter.requires_grad for parameter in streamed.parameters())
    for found, expected in (
        (dict(streamed.named_parameters()), dict(resident.named_parameters())),
        (dict(streamed.named_buffers()), dict(resident.named_buffers())),
        (streamed.state_dict(), resident.state_dict()),
    ):
        assert list(found) == list(expected)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_all_streamed_modules_of_a_class_share_one_compiled_graph(backend: str) -> None:
    streamed, resident = blocks(7), blocks(7)
    WeightStream(CPU).add(streamed)
    compile_blocks(streamed, backend)
    before = compiled_graphs()
    with torch.inference_mode():
        for rows in (5, 2, 4):
            x = torch.randn(rows, 32)
            for index in (0, 1, 2, 3, 4, 5, 6, 2, 5, 5, 0):
                assert torch.equal(streamed[index](x), resident[index](x))
    assert compiled_graphs() - before == 1


@pytest.mark.usefixtures("fake_cuda")
def test_on_a_cuda_device_tensors_are_aligned_views_of_three_slots() -> None:
    modules = blocks(7)
    before = [[(t.dtype, t.shape, t.stride()) for t in tensors(module)] for module in modules]
    with FakeTensorMode(allow_non_fake_inputs=True):
        WeightStream(torch.device("cuda")).add(modules)
        assert [
            [(t.dtype, t.shape, t.stride()) for t in tensors(module)] for module in modules
        ] == before
        slots = {
            tensor.untyped_storage()._cdata for module in modules for tensor in tensors(module)
        }
        assert len(slots) == SLOTS
        for tensor in tensors(modules[6]):
            assert tensor.device == torch.device("cuda", 0)
            assert tensor.storage_offset() * tensor.itemsize % 256 == 0
            assert tensor.untyped_storage().nbytes() == flat_bytes(modules[6])
        assert FORMAT in {tensor.dtype for tensor in tensors(modules[6])}


@pytest.mark.usefixtures("fake_cuda", "fresh_compiler")
def test_on_a_cuda_device_compiled_modules_share_one_graph() -> None:
    modules = blocks(7)
    compile_blocks(modules, "aot_eager")
    before = compiled_graphs()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        WeightStream(torch.device("cuda")).add(modules)
        for rows in (5, 2, 4):
            for module in modules:
                assert module(torch.empty(rows, 32, device="cuda")).device.type == "cuda"
    assert compiled_graphs() - before == 1


@pytest.mark.usefixtures("fake_cuda")
def test_each_module_has_a_pinned_buffer_of_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[int] = []
    monkeypatch.setattr(weight_streaming, "pin", lambda buffer: pinned.append(buffer.nbytes))
    modules = [*blocks(2), Block(48)]
    with FakeTensorMode(allow_non_fake_inputs=True):
        WeightStream(torch.device("cuda")).add(modules)
    assert pinned == [flat_bytes(module) for module in modules]


@pytest.mark.usefixtures("fake_cuda")
def test_memory_is_unpinned_when_its_modules_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    unpinned: list[int] = []
    monkeypatch.setattr(
        weight_streaming, "unpin", lambda buffers, _device: unpinned.append(len(buffers))
    )
    modules = blocks(5)
    with FakeTensorMode(allow_non_fake_inputs=True):
        WeightStream(torch.device("cuda")).add(modules)
    assert unpinned == []
    del modules
    gc.collect()
    assert unpinned == [5]


def test_the_memory_of_a_module_is_freed_before_the_next_one_is_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = torch.ones(18 * 2**20, dtype=torch.uint8)
    del memory  # from now on, the C library keeps freed memory of up to this size
    modules = [nn.Linear(1536, 1536, bias=False) for _ in range(30)]  # 9.4 MB each
    resident: list[int] = []

    def recorded(size: int) -> Tensor:
        resident.append(resident_bytes())
        return host_buffer(size)

    monkeypatch.setattr(weight_streaming, "host_buffer", recorded)
    WeightStream(CPU).add(modules)
    slots = SLOTS * flat_bytes(modules[0])
    assert max(resident) - resident[0] < slots + 3 * flat_bytes(modules[0])


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(kibibytes) * 1024
