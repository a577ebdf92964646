"""An LRU cache of encoder results, so that the same prompt or control map is encoded once.

Knows nothing of what the tensors mean.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor

Tensors = tuple[Tensor, ...]


class TensorCache:
    """The most recently used results, up to max_bytes of tensors. Not thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Hashable, Tensors] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Tensors]) -> Tensors:
        """The result of `make` for this key. `make` is called only on a cache miss.

        The tensors are shared: callers must not write into them.
        """
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        tensors = make()
        self._entries[key] = tensors
        self._bytes += _size(tensors)
        while self._bytes > self._max_bytes:
            _, evicted = self._entries.popitem(last=False)
            self._bytes -= _size(evicted)
        return tensors


def _size(tensors: Tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
