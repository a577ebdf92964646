"""A simulated device: its streams run their queued work late, in any order that their events allow.

It stands for torch.cuda in models/flux/weight_streaming.py. The host queues a whole program first,
as a host does that is far ahead of its device. Then `run` executes it in an order of the test's
choice. Copies between tensors on a stream other than the compute stream are queued too, as two
halves, so that other work can come between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(eq=False, slots=True)
class Mark:
    """A recorded event's place in its stream's queue."""

    reached: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    mark: Mark


Work = Callable[[], None]


@dataclass(eq=False, slots=True)
class SimulatedStream:
    """waits: False for a stream that ignores the events that it should wait for."""

    waits: bool
    queue: list[Work | Mark | Wait] = field(default_factory=list)

    def wait_event(self, event: SimulatedEvent) -> None:
        # As in CUDA: it waits for what the event has last recorded, not for what it will record.
        if self.waits and event.mark is not None:
            self.queue.append(Wait(event.mark))

    def blocked(self) -> bool:
        return isinstance(self.queue[0], Wait) and not self.queue[0].mark.reached


@dataclass(eq=False, slots=True)
class SimulatedEvent:
    device: SimulatedDevice
    mark: Mark | None = None

    def record(self, stream: SimulatedStream) -> None:
        if self.device.interrupted and stream is self.device.copies:
            self.device.interrupted = False
            raise TimeoutError
        self.mark = Mark()
        stream.queue.append(self.mark)


Choice = Callable[[Sequence[SimulatedStream]], SimulatedStream]
"""Which of the streams that are not blocked runs its next piece of work."""


class SimulatedDevice:
    """interrupted: an exception ends the next record of an event on the copy stream.
    synchronizations: how often the host waited for the device.
    """

    def __init__(self, *, compute_waits: bool = True, copies_wait: bool = True) -> None:
        self.compute, self.copies = SimulatedStream(compute_waits), SimulatedStream(copies_wait)
        self.interrupted = False
        self.synchronizations = 0
        self._current = self.compute

    def Stream(self, _device: torch.device) -> SimulatedStream:
        return self.copies

    def Event(self) -> SimulatedEvent:
        return SimulatedEvent(self)

    def current_stream(self, _device: torch.device) -> SimulatedStream:
        return self._current

    @contextmanager
    def stream(self, stream: SimulatedStream) -> Iterator[None]:
        previous, self._current = self._current, stream
        with _QueuedCopies(stream):
            yield
        self._current = previous

    def synchronize(self, _device: torch.device) -> None:
        self.synchronizations += 1
        self.run(lambda streams: streams[0])

    def run(self, choose: Choice) -> None:
        """Execute all queued work."""
        while streams := [stream for stream in (self.compute, self.copies) if stream.queue]:
            ready = [stream for stream in streams if not stream.blocked()]
            assert ready, "each stream waits for the other"
            work = choose(ready).queue.pop(0)
            if isinstance(work, Mark):
                work.reached = True
            elif not isinstance(work, Wait):
                work()


class _QueuedCopies(TorchDispatchMode):
    def __init__(self, stream: SimulatedStream) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self._stream = stream

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is not torch.ops.aten.copy_.default:
            return function(*args, **(kwargs or {}))
        target, source = args[:2]
        for part, source_part in zip(target.chunk(2), source.chunk(2), strict=True):
            self._stream.queue.append(_copy(part, source_part))
        return target


def _copy(target: Tensor, source: Tensor) -> Work:
    def copy() -> None:
        target.copy_(source)

    return copy
