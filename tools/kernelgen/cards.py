"""A card of each architecture that the server runs on, as Inductor sees it. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """What Inductor reads of a card. shared_memory: bytes that a block of threads can have."""

    name: str
    major: int
    minor: int
    multi_processor_count: int
    max_threads_per_multi_processor: int
    shared_memory_per_block_optin: int
    L2_cache_size: int
    total_memory: int
    warp_size: int = 32
    regs_per_multiprocessor: int = 65536
    max_threads_per_block: int = 1024
    shared_memory_per_block: int = 49152
    gcnArchName: str = ""

    @property
    def capability(self) -> tuple[int, int]:
        return self.major, self.minor


CARDS = {
    80: Card("A100", 8, 0, 108, 2048, 166912, 40 * 2**20, 80 * 2**30),
    89: Card("RTX 4090", 8, 9, 128, 1536, 101376, 72 * 2**20, 24 * 2**30),
    90: Card("H200", 9, 0, 132, 2048, 232448, 50 * 2**20, 141 * 10**9),
    120: Card("RTX 5090", 12, 0, 170, 1536, 101376, 96 * 2**20, 32 * 2**30),
}
"""A card of each architecture, by the number in sm_80."""
