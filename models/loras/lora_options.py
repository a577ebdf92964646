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


NO_LORAS = LoraOptions()


def padded_rank(rank: int) -> int:
    return -(-rank // RANK_MULTIPLE) * RANK_MULTIPLE
