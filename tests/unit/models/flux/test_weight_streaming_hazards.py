"""Hazards between copies and calls, on a simulated device that runs them in any legal order.

No call may read weights that are not there yet, or that a copy has already replaced.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from models.flux.weight_streaming import WeightStream
from tests.support.simulated_device import Choice, SimulatedDevice

pytestmark = pytest.mark.torch

TEXT, CONTROL, TRANSFORMER = range(4), range(4, 7), range(7, 13)
REQUEST = (
    *TEXT,
    *(*CONTROL, *TRANSFORMER) * 2,
    *(*TRANSFORMER,) * 2,  # after the window of the ControlNet
)
ORDERS = {
    "two requests": REQUEST * 2,
    "one module": (5,) * 5,
    "modules of one slot": (0, 3, 6, 9) * 3,
    "backwards": (*range(12, -1, -1),) * 2,
    "every second": (*range(0, 13, 2),) * 3,
    **{f"random {seed}": random.Random(seed).choices(range(13), k=60) for seed in range(8)},
}
CHOICES: dict[str, Choice] = {
    "copies as early as possible": lambda streams: streams[-1],
    "calls as early as possible": lambda streams: streams[0],
    **{f"random {seed}": random.Random(seed).choice for seed in range(6)},
}


class Probe(nn.Module):
    """Reads its weights, which are its index, twice in a call, and counts wrong reads."""

    def __init__(self, index: int, device: SimulatedDevice) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((128,), float(index)))
        self.index, self.device, self.wrong_reads = index, device, 0
        self.successor_ready = False

    def forward(self, successor: Probe | None = None) -> None:
        self.device.compute.queue.append(lambda: self.read(self.weight[64:]))
        self.device.compute.queue.append(lambda: self.read(self.weight[:64]))
        if successor is not None:
            self.device.compute.queue.append(lambda: self.look_at(successor))

    def read(self, numbers: Tensor) -> None:
        self.wrong_reads += not bool((numbers == self.index).all())

    def look_at(self, successor: Probe) -> None:
        self.successor_ready = bool((successor.weight == successor.index).all())


class Failing(Probe):
    def forward(self, successor: Probe | None = None) -> None:
        super().forward(successor)
        raise ZeroDivisionError


def probes(
    monkeypatch: pytest.MonkeyPatch, device: SimulatedDevice, failing: int | None = None
) -> list[Probe]:
    """13 streamed modules of a simulated device."""
    monkeypatch.setattr(torch, "get_device_module", lambda _device: device)
    modules = [(Failing if index == failing else Probe)(index, device) for index in range(13)]
    WeightStream(torch.device("cpu")).add(modules)
    return modules


def wrong_reads(modules: Sequence[Probe]) -> int:
    return sum(module.wrong_reads for module in modules)


@pytest.mark.parametrize("choose", CHOICES.values(), ids=list(CHOICES))
@pytest.mark.parametrize("order", ORDERS.values(), ids=list(ORDERS))
def test_every_call_reads_its_own_weights(
    monkeypatch: pytest.MonkeyPatch, order: Sequence[int], choose: Choice
) -> None:
    device = SimulatedDevice()
    modules = probes(monkeypatch, device)
    for index in order:
        modules[index]()
    device.run(choose)
    assert wrong_reads(modules) == 0


@pytest.mark.parametrize(
    ("device", "choice"),
    [
        (SimulatedDevice(compute_waits=False), "calls as early as possible"),
        (SimulatedDevice(copies_wait=False), "copies as early as possible"),
    ],
    ids=["calls do not wait for copies", "copies do not wait for calls"],
)
def test_a_missing_wait_is_noticed(
    monkeypatch: pytest.MonkeyPatch, device: SimulatedDevice, choice: str
) -> None:
    modules = probes(monkeypatch, device)
    for index in REQUEST:
        modules[index]()
    device.run(CHOICES[choice])
    assert wrong_reads(modules) > 0


@pytest.mark.parametrize("host_ahead", [True, False])
@pytest.mark.parametrize("step", [1, -1], ids=["as added", "backwards"])
def test_the_next_weights_are_copied_while_a_module_computes(
    monkeypatch: pytest.MonkeyPatch, step: int, host_ahead: bool
) -> None:
    """host_ahead: the host queues all calls at once; else it waits for the end of each."""
    device = SimulatedDevice()
    modules = probes(monkeypatch, device)
    order = modules[::step]
    for _ in range(2):
        for module, successor in zip(order, [*order[1:], order[0]], strict=True):
            module(successor)
            if not host_ahead:
                device.run(CHOICES["copies as early as possible"])
    device.run(CHOICES["copies as early as possible"])
    assert wrong_reads(modules) == 0
    # The last module and the first one have the same slot.
    assert [module.successor_ready for module in order] == [True] * 12 + [False]


def test_the_host_does_not_wait_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimulatedDevice()
    modules = probes(monkeypatch, device)
    assert device.synchronizations == 1
    for index in REQUEST:
        modules[index]()
    assert device.synchronizations == 1


def test_weights_stay_until_a_failed_call_has_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimulatedDevice()
    modules = probes(monkeypatch, device, failing=5)
    for index in (4, 5, 8, 5, 2, 1):
        if index == 5:
            with pytest.raises(ZeroDivisionError):
                modules[index]()
        else:
            modules[index]()
    device.run(CHOICES["copies as early as possible"])
    assert wrong_reads(modules) == 0


@pytest.mark.parametrize("choose", CHOICES.values(), ids=list(CHOICES))
def test_a_copy_that_was_interrupted_is_repeated(
    monkeypatch: pytest.MonkeyPatch, choose: Choice
) -> None:
    """As by the time limit of a request, whose exception may come between any two lines."""
    device = SimulatedDevice()
    modules = probes(monkeypatch, device)
    for index in (0, 1, 2, 4):
        modules[index]()
    device.interrupted = True
    with pytest.raises(TimeoutError):
        modules[10]()
    for index in (4, 10, 11):
        modules[index]()
    device.run(choose)
    assert wrong_reads(modules) == 0
