"""Regional compilation: each block of FLUX's networks compiled by itself, for every size at once.

All blocks of a class share their graphs, so that compiling takes seconds and not minutes, and
sizes are symbols in them: a new size compiles nothing. Knows no checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

_GRAPHS_OF_A_BLOCK = 32
"""Two networks, two precisions and a few layouts share a block's code; the default is 8."""


def compile_blocks(blocks: Iterable[nn.Module], backend: str = "inductor") -> None:
    """Compile `blocks` in place; the work is done at their first call."""
    torch._dynamo.config.recompile_limit = _GRAPHS_OF_A_BLOCK
    for block in blocks:
        block.compile(fullgraph=True, dynamic=True, backend=backend)


def compiled_graphs() -> int:
    """Graphs that this process has compiled; it must not grow once everything is warm."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])
