"""Regional compilation: compiles each block of FLUX's networks by itself, with dynamic sizes.

All blocks of a class share their graphs, so compilation takes seconds instead of minutes. Sizes are
symbols in the graphs, so a new size compiles nothing. Knows no checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.flux.joint_attention import join_rotated_streams

_GRAPHS_OF_A_BLOCK = 32
"""Two networks, two dtypes and a few layouts share a block's code; torch's default is 8."""


def compile_blocks(
    blocks: Iterable[nn.Module], backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Compile `blocks` in place. torch compiles them at their first call. Does nothing where
    compilation is disabled, which `fullgraph` would turn into an error."""
    if not compilation_enabled():
        return
    torch._dynamo.config.recompile_limit = _GRAPHS_OF_A_BLOCK
    for block in blocks:
        join_rotated_streams(block)
        block.compile(fullgraph=True, dynamic=True, backend=backend)


def compilation_enabled() -> bool:
    """False where TORCH_COMPILE_DISABLE is set."""
    return not torch._dynamo.config.disable


@dataclass(frozen=True, slots=True)
class CompileStats:
    """What this process has compiled. seconds: the whole time in torch.compile, with tracing and
    with loading from the cache. cache_hits, cache_misses: of Inductor's cache, one a graph."""

    graphs: int
    seconds: float
    cache_hits: int
    cache_misses: int


def compile_stats() -> CompileStats:
    inductor = torch._dynamo.utils.counters["inductor"]
    return CompileStats(
        compiled_graphs(),
        torch._dynamo.utils.calculate_time_spent()["total_wall_time"],
        inductor["fxgraph_cache_hit"],
        inductor["fxgraph_cache_miss"],
    )


def compiled_graphs() -> int:
    """The number of graphs this process has compiled. It must not grow after the warm-up."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])
