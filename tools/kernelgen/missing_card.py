"""Stands in for a CUDA card that this machine lacks: its properties, and calls that do nothing.

Owns every patch of torch and triton. Inside `in_place_of` torch traces and lowers graphs for the
card as if it were there. Nothing can be launched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import torch._inductor.config as inductor_config
from torch._dynamo import device_interface
from torch._inductor.runtime.hints import DeviceProperties
from torch._inductor.runtime.triton_helpers import skip_gpu_driver_setup
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._triton import has_triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from tools.kernelgen.cards import Card


@contextmanager
def in_place_of(card: Card) -> Iterator[None]:
    """Inside, torch and triton see `card` as the one CUDA device. Compiles in this process."""
    properties = SimpleNamespace(**asdict(card))
    stand_ins: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_properties": lambda *_: properties,
        "get_device_capability": lambda *_: card.capability,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda *_: None,
        "_lazy_init": lambda: None,
        "_exchange_device": lambda _: 0,
        "_maybe_exchange_device": lambda _: 0,
    }
    with ExitStack() as patches:
        for name, stand_in in stand_ins.items():
            patches.enter_context(patch.object(torch.cuda, name, stand_in))
        # The interface keeps references to the functions above and caches their results.
        interface, read = device_interface.CudaInterface, staticmethod(lambda *_: properties)
        patches.enter_context(patch.object(interface, "get_device_properties", read))
        for cache, value in (
            (device_interface.caching_worker_current_devices, 0),
            (device_interface.caching_worker_device_properties, [properties]),
        ):
            patches.enter_context(patch.dict(cache, {"cuda": value}))
        # True without a card. With one, fake tensors would allocate on it.
        patches.enter_context(patch.object(FakeTensorMode, "avoid_device_init", True))
        patches.enter_context(patch.object(driver, "_active", _Driver(card)))
        patches.enter_context(skip_gpu_driver_setup())
        patches.enter_context(
            inductor_config.patch(
                compile_threads=1, force_disable_caches=True, use_static_cuda_launcher=False
            )
        )
        for cached in (DeviceProperties.create, has_triton):  # both ask torch.cuda
            cached.cache_clear()
            patches.callback(cached.cache_clear)
        yield


class _Driver:
    """The part of triton's driver that compilation uses."""

    def __init__(self, card: Card) -> None:
        self._card = card

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self._card.major * 10 + self._card.minor, self._card.warp_size)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)

    def get_current_device(self) -> int:
        return 0
