"""The LoRA files that a gpu worker has read, in host memory, bounded by bytes.

The key is a file's SHA-256, so a file that was replaced is another LoRA.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path

from models.errors import LoraError, UnknownLora
from models.loras.lora_folder import LoraFolder
from models.loras.low_rank import LoraWeights
from models.loras.weights import read_weights
from models.spec import Lora


class LoraCache:
    """The most recently used LoRAs, up to max_bytes. Not thread-safe."""

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._folder = None if folder is None else LoraFolder(folder)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._weights: OrderedDict[str, LoraWeights] = OrderedDict()

    def get(self, lora: Lora) -> LoraWeights:
        """The weights of the file with this name and this SHA-256.

        Raises LoraError when there is no such file, or when it cannot be used.
        """
        if lora.sha256 in self._weights:
            self._weights.move_to_end(lora.sha256)
            return self._weights[lora.sha256]
        content = self._read(lora.name)
        if hashlib.sha256(content).hexdigest() != lora.sha256:
            raise LoraError(lora.name, "its file was replaced after the request was submitted")
        weights = read_weights(lora.name, content)
        self.put(lora.sha256, weights)
        return weights

    def put(self, sha256: str, weights: LoraWeights) -> None:
        self._weights[sha256] = weights
        self._bytes += weights.bytes
        while self._bytes > self._max_bytes and len(self._weights) > 1:
            _, evicted = self._weights.popitem(last=False)
            self._bytes -= evicted.bytes

    def _read(self, name: str) -> bytes:
        if self._folder is None:
            raise LoraError(name, "this worker has no folder of LoRAs (LORAS_DIR)")
        try:
            path = self._folder.path_of(name)
            if path.stat().st_size > self._max_bytes:
                raise LoraError(name, "its file is larger than LORAS_CACHE_BYTES")
            return path.read_bytes()
        except UnknownLora as error:
            raise LoraError(name, "this worker has no such file in LORAS_DIR") from error
        except OSError as error:
            raise LoraError(name, f"its file cannot be read: {error.strerror}") from error
