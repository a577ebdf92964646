"""Compiles the Triton kernels of generated code to machine code, without a card.

Owns what a graph's code contains and what its kernels need of a card: each kernel is compiled in
every configuration among which Inductor would choose on the card.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch._inductor.codecache import PyCodeCache
from triton import knobs

from tools.kernelgen.cards import Card
from tools.kernelgen.missing_card import in_place_of

_LIBRARY_CALL = re.compile(
    r"^\s+\w+ = torch\.ops\.\w+\.(\w+)\.|^\s+extern_kernels\.(\w+)\(", re.MULTILINE
)
_RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+)")


@dataclass(frozen=True, slots=True)
class Cubin:
    """One configuration of a kernel. shared_memory, stack: bytes; stack: registers spilled and
    local arrays, of one thread."""

    size: int
    registers: int
    shared_memory: int
    stack: int


@dataclass(frozen=True, slots=True)
class CompiledGraph:
    """What a graph's code contains.

    kernels: the cubins of each Triton kernel, one a configuration. failures: the message of each
    kernel that has no configuration which compiles. Of one call of the graph: launches counts
    Triton kernels, libraries counts calls of torch's own kernels by name, buffers allocations.
    """

    kernels: Mapping[str, Sequence[Cubin]]
    failures: Mapping[str, str]
    launches: int
    libraries: Counter[str]
    buffers: int


def compile_kernels(code: str, card: Card) -> CompiledGraph:
    """Compile all Triton kernels of a module that Inductor generated for `card`."""
    kernels: dict[str, list[Cubin]] = {}
    failures: dict[str, str] = {}
    with in_place_of(card):
        for name, source in _kernel_sources(code):
            try:
                kernel = getattr(PyCodeCache.load(source), name)
                kernel.precompile(warm_cache_only=True)
            except Exception as error:  # noqa: BLE001  # what the compilers raise is a finding
                failures[name] = f"{type(error).__name__}: {error}"
            else:
                kernels[name] = [_cubin(result.kernel) for result in kernel.compile_results]
    return CompiledGraph(
        kernels=kernels,
        failures=failures,
        launches=len(re.findall(r"^\s*triton_\w+\.run\(", code, re.MULTILINE)),
        libraries=Counter("".join(names) for names in _LIBRARY_CALL.findall(code)),
        buffers=code.count(" = empty_strided_cuda("),
    )


def _kernel_sources(code: str) -> list[tuple[str, str]]:
    """Name and source of each `async_compile.triton(name, source, ...)`."""
    return [
        (ast.literal_eval(call.args[0]), ast.literal_eval(call.args[1]))
        for call in ast.walk(ast.parse(code))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "triton"
    ]


def _cubin(kernel: Any) -> Cubin:
    code: bytes = kernel.asm["cubin"]
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(code)
        listing = subprocess.run(
            [knobs.nvidia.cuobjdump.path, "-res-usage", file.name],
            check=True,
            capture_output=True,
            text=True,
        )
    (resources,) = _RESOURCES.findall(listing.stdout + listing.stderr)
    registers, stack = map(int, resources)
    return Cubin(len(code), registers, kernel.metadata.shared, stack)
