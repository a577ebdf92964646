"""Results of the encoders, kept as long as they fit: the same prompt or the same control map is
encoded once. Knows nothing of what the tensors mean.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor

Tensors = tuple[Tensor, ...]


class TensorCache:
    """The most recently used results, up to max_bytes of tensors. For one thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, Tensors] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Tensors]) -> Tensors:
        """What `make` returned for this key; it is called only when that is not kept.

        The tensors are shared: whoever gets them must not write into them.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = make()
        self._kept[key] = made
        self._bytes += _size(made)
        while self._bytes > self._max_bytes:
            _, forgotten = self._kept.popitem(last=False)
            self._bytes -= _size(forgotten)
        return made


def _size(tensors: Tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
