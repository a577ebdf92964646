"""What an operator decides about LoRAs. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RANK_MULTIPLE = 16
"""The rank of a request is padded with zeros to a multiple of this: matrix units need it, and a
compiled block assumes that a rank is at least 16."""


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """folder: of the files; None: no LoRAs. max_rank: of all LoRAs of a request together.
    cache_bytes: of the LoRAs that are kept in the host's memory."""

    folder: Path | None = None
    max_rank: int = 128
    cache_bytes: int = 2 << 30

    @property
    def reserved_rank(self) -> int:
        """The rank for which memory on the card is reserved."""
        return 0 if self.folder is None else padded_rank(self.max_rank)


def padded_rank(rank: int) -> int:
    return -(-rank // RANK_MULTIPLE) * RANK_MULTIPLE
