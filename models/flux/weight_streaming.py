"""Weight streaming: modules' weights are stored on the host and copied to the device for each call.

For cards that cannot hold all weights. The next module's weights are copied while one computes.
Weights never change, so nothing is copied back. Knows nothing of what the modules compute.

The group offloading of diffusers (use_stream) is not used: it moves buffers too, but it pins tensor
by tensor, makes the host wait in each block, and its hooks are a part of the block's forward, which
then does not compile into one graph.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.flux.host_buffers import host_buffer, pin, release_freed_memory, unpin
from models.memory.flat_layout import SLOTS, flat_bytes, places


@dataclass(slots=True)
class _Slot:
    """A flat buffer on the device that holds the weights of one module at a time.

    ready: the event after the last copy into it. used: the event after the last call that read it.
    index: of the module that it holds as soon as it is ready; None if its content is undefined.
    """

    memory: Tensor
    ready: Any
    used: Any
    index: int | None = None


class WeightStream:
    """The streamed modules of a device and their SLOTS flat buffers on it.

    A module is bound to a slot, and its parameters and buffers are views of the slot for good: a
    call changes no attribute, so compiled modules keep their guards. Call the modules from one
    thread, in any order. No call waits on the host. A module must not contain another one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._backend: Any = torch.get_device_module(device)
        self._copy_stream = self._backend.Stream(device)
        self._slots = [
            _Slot(
                torch.empty(0, dtype=torch.uint8, device=device),
                ready=self._backend.Event(),
                used=self._backend.Event(),
            )
            for _ in range(SLOTS)
        ]
        self._hosts: list[Tensor] = []
        self._successors: dict[int, int] = {}
        self._last = -1
        if device.type == "cuda":
            weakref.finalize(self, unpin, self._hosts, device).atexit = False

    def add(self, modules: Sequence[nn.Module]) -> None:
        """Move the weights of `modules` to the host and stream them from now on. Waits for the
        device. The memory of each module is freed before the next one is moved.

        modules: in the order in which they usually run. Raises CheckpointError when the host has
        not enough memory; the modules are unusable then.
        """
        self._enlarge_slots(max(map(flat_bytes, modules)))
        for module in modules:
            self._add(module)
            release_freed_memory()

    def _add(self, module: nn.Module) -> None:
        index, host = len(self._hosts), host_buffer(flat_bytes(module))
        slot = self._slots[index % SLOTS]
        for place in places(module):
            tensor = place.tensor
            _view(host, place.offset, tensor).copy_(tensor)
            view = _view(slot.memory, place.offset, tensor)
            setattr(
                place.part,
                place.name,
                nn.Parameter(view, requires_grad=False)
                if isinstance(tensor, nn.Parameter)
                else view,
            )
        if self._device.type == "cuda":
            pin(host)
        self._hosts.append(host)
        module.__class__ = _streamed_class(type(module))
        assert isinstance(module, _Streamed)
        module.weights_on_device = functools.partial(self._weights_on_device, index)

    def _enlarge_slots(self, size: int) -> None:
        """Let each slot have at least `size` bytes. Views of a slot stay views of it."""
        # After this, no queued work uses the old memory or what the new memory was before.
        self._backend.synchronize(self._device)
        for slot in self._slots:
            storage = slot.memory.untyped_storage()
            if storage.nbytes() < size:
                slot.index = None
                storage.resize_(0)  # else the old content would be copied
                storage.resize_(size)

    @contextmanager
    def _weights_on_device(self, index: int) -> Iterator[None]:
        """While active, work queued on the current stream sees the weights of a module."""
        compute_stream = self._backend.current_stream(self._device)
        slot = self._fetch(index)
        compute_stream.wait_event(slot.ready)
        self._successors[self._last] = index
        self._last = index
        successor = self._successors.get(index, index + 1)
        # The slot in use cannot be waited for before the end of this call.
        if successor < len(self._hosts) and successor % SLOTS != index % SLOTS:
            self._fetch(successor)
        try:
            yield
        finally:
            slot.used.record(compute_stream)

    def _fetch(self, index: int) -> _Slot:
        """Queue the copy of a module's weights into its slot, unless the slot holds them."""
        slot, host = self._slots[index % SLOTS], self._hosts[index]
        if slot.index != index:
            slot.index = None  # an exception, as of a time limit, may interrupt the next lines
            self._copy_stream.wait_event(slot.used)
            with self._backend.stream(self._copy_stream):
                _view(slot.memory, 0, host).copy_(host, non_blocking=True)
            slot.ready.record(self._copy_stream)
            slot.index = index
        return slot


class _Streamed(nn.Module):
    """Runs a module's call with its weights on the device.

    Not a pair of hooks: module.compile() makes hooks a part of the module's graph, one for each
    module. It does not compile __call__.
    """

    weights_on_device: Callable[[], AbstractContextManager[None]]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.weights_on_device():
            return super().__call__(*args, **kwargs)


_STREAMED_CLASSES: dict[type[nn.Module], type[nn.Module]] = {}
"""One subclass for each class of modules, because compiled modules share graphs by class."""


def _streamed_class(original: type[nn.Module]) -> type[nn.Module]:
    if original not in _STREAMED_CLASSES:
        _STREAMED_CLASSES[original] = type(original.__name__, (_Streamed, original), {})
    return _STREAMED_CLASSES[original]


def _view(memory: Tensor, offset: int, like: Tensor) -> Tensor:
    """A tensor of the shape, dtype and order of dimensions of `like`, at `offset` bytes of
    `memory`. It does not overlap itself."""
    # Not memory[...].view(): to torch's compiler a view of a base is another kind of tensor.
    return torch.empty(0, dtype=like.dtype, device=memory.device).set_(
        memory.untyped_storage(),
        offset // like.itemsize,
        like.shape,
        torch.empty_like(like, device="meta").stride(),
    )
