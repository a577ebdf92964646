"""Runs inside the worker image: is Triton at home without a C compiler, a GPU and a writable root?

Asks for the one module that Triton compiles at run time, and compiles a kernel down to machine code
for a card. Only loading them needs a driver.
"""

from __future__ import annotations

import filecmp
from pathlib import Path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import driver
from triton.compiler import ASTSource
from triton.runtime.build import compile_so_from_file


@triton.jit  # type: ignore[untyped-decorator]  # triton ships no types
def double(x: tl.tensor, y: tl.tensor, n: tl.constexpr) -> None:
    at = tl.arange(0, n)
    tl.store(y + at, 2 * tl.load(x + at))


def main() -> None:
    module = compile_so_from_file(
        src_path=str(Path(driver.dirname) / "driver.c"),
        name="cuda_utils",
        library_dirs=driver.library_dirs(),
        include_dirs=driver.include_dirs,
        libraries=driver.libraries,
    )
    assert filecmp.cmp(module, "/opt/triton/cuda_utils.so", shallow=False), module
    source = ASTSource(double, {"x": "*fp32", "y": "*fp32", "n": "constexpr"}, {"n": 128})
    kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    print(f"driver module from the image, kernel of {len(kernel.asm['cubin'])} bytes for sm_90")


main()
