"""The bytes of a checkpoint's weights, by what a memory plan can place separately."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of a checkpoint's weights. Counted by models/checkpoints/footprint.py.

    networks: transformer and ControlNet in bfloat16. float8: the same in 8 bits.
    float8_beside: what the 8-bit networks need beside those in bfloat16, whose other tensors they
    share. float8_blocks: the part of `float8` that is streamed block by block.
    encoders: both text encoders. encoder_blocks: the part of them that is streamed.
    largest_float8_block, largest_encoder_block: one streamed block, in a flat buffer.
    rest: autoencoder and annotators. lora_rank: each rank of LoRAs that adapt every layer.
    """

    networks: int
    float8: int
    float8_beside: int
    float8_blocks: int
    largest_float8_block: int
    encoders: int
    encoder_blocks: int
    largest_encoder_block: int
    rest: int
    lora_rank: int = 0

    @property
    def files(self) -> int:
        """Bytes of the downloaded files."""
        return self.networks + self.encoders + self.rest
