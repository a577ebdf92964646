"""The attention of FLUX's blocks in an order of operations that compiles to fewer kernels.

diffusers joins the queries of text and image and rotates the joined tensor. Here each stream is
normalized and rotated by itself and then joined. No number changes, because both steps treat every
token by itself; but a compiler can fuse the three steps into one kernel for each stream. Without a
compiler there is no gain.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.flux.projections import PROJECTIONS

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine tables, [tokens, width of a head]."""


def join_rotated_streams(block: nn.Module) -> None:
    """Let every attention in a FLUX block compute its result in this order."""
    part: Any
    for part in block.modules():
        if hasattr(part, "fused_projections"):
            part.set_processor(_JointAttention())


class _JointAttention:
    """diffusers calls it with positional arguments: the attention with its layers, the image's
    tokens [1, n, width], and in a double block the text's tokens."""

    def __call__(
        self,
        attention: Any,
        image: Tensor,
        text: Tensor | None = None,
        _mask: None = None,
        rotary: Any = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        if text is None:  # a single block: its tokens are joined already
            return _attend(*_heads(attention, "to_qkv", "norm", image, rotary))
        length = text.shape[1]
        cosine, sine = rotary
        streams = (
            _heads(attention, "to_added_qkv", "norm_added", text, (cosine[:length], sine[:length])),
            _heads(attention, "to_qkv", "norm", image, (cosine[length:], sine[length:])),
        )
        joined = _attend(*(torch.cat(parts, dim=1) for parts in zip(*streams, strict=True)))
        of_text, of_image = joined.split_with_sizes([length, joined.shape[1] - length], dim=1)
        for layer in attention.to_out:
            of_image = layer(of_image)
        return of_image, attention.to_add_out(of_text)


def _heads(
    attention: Any, fused: str, norm: str, tokens: Tensor, rotary: Rotary
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of a stream, each [1, n, heads, width]. fused, norm: the names of its
    layers."""
    if attention.fused_projections:
        projected = getattr(attention, fused)(tokens).chunk(3, dim=-1)
    else:
        projected = [getattr(attention, name)(tokens) for name in PROJECTIONS[fused]]
    query, key, value = (part.unflatten(-1, (-1, attention.head_dim)) for part in projected)
    query, key = getattr(attention, f"{norm}_q")(query), getattr(attention, f"{norm}_k")(key)
    return _rotated(query, rotary), _rotated(key, rotary), value


def _rotated(heads: Tensor, rotary: Rotary) -> Tensor:
    """[1, n, heads, width]: each pair of neighbours turned by its angle, in float32."""
    cosine, sine = (table[:, None, :] for table in rotary)
    even, odd = heads.reshape(*heads.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack((-odd, even), dim=-1).flatten(-2)
    return (heads.float() * cosine + turned.float() * sine).to(heads.dtype)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """[1, n, heads, width] -> [1, n, heads * width]."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
