"""The table of all graphs: its rows and their text, which is Markdown."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tools.gpubench.networks.shapes import Shape
from tools.kernelgen.cards import CARDS
from tools.kernelgen.cubins import CompiledGraph, compile_kernels
from tools.kernelgen.generation import BLOCKS, DTYPES, generate

_HEAD = (
    "architecture",
    "graph",
    "kernels",
    "launches",
    "library calls",
    "buffers",
    "cubins",
    "spill",
    "KB",
    "registers",
    "shared",
    "seconds",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A graph for an architecture. seconds: generation and compilation of all configurations."""

    arch: int
    name: str
    compiled: CompiledGraph
    seconds: float


def rows_of(arch: int, shape: Shape, out: Path | None) -> list[Row]:
    """All graphs for one architecture. out: folder for their code. Silences this process."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rows = []
    for dtype, block in product(DTYPES, BLOCKS):
        for graph in generate(CARDS[arch], shape, block, dtype):
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                (out / f"sm_{arch} {graph.name}.py").write_text(graph.code)
            start = time.perf_counter()
            compiled = compile_kernels(graph.code, CARDS[arch])
            seconds = graph.seconds + time.perf_counter() - start
            rows.append(Row(arch, graph.name, compiled, seconds))
            print(f"sm_{arch} {graph.name}: {seconds:.0f} s", file=sys.stderr)
    return rows


def table(rows: list[Row]) -> str:
    """One line a graph. registers, shared: of the kernel that needs most, in the configuration of
    it that spills least; shared in bytes. spill: kernels that spill in every configuration."""
    return "\n".join(
        "| " + " | ".join(cells) + " |"
        for cells in (_HEAD, ("---",) * len(_HEAD), *(_cells(row) for row in rows))
    )


def _cells(row: Row) -> tuple[str, ...]:
    graph = row.compiled
    best = [min(cubins, key=lambda cubin: cubin.stack) for cubins in graph.kernels.values()]
    libraries = sorted(graph.libraries.items())
    cubins = [cubin for cubins in graph.kernels.values() for cubin in cubins]
    return (
        f"sm_{row.arch}",
        row.name,
        f"{len(graph.kernels)}" + (f", {len(graph.failures)} fail" if graph.failures else ""),
        str(graph.launches),
        ", ".join(f"{count} `{name}`" for name, count in libraries),
        str(graph.buffers),
        str(len(cubins)),
        str(sum(cubin.stack > 0 for cubin in best)),
        f"{sum(cubin.size for cubin in cubins) / 1000:.0f}",
        str(max((cubin.registers for cubin in best), default=0)),
        str(max((cubin.shared_memory for cubin in best), default=0)),
        f"{row.seconds:.0f}",
    )
