"""Reads the imports of files: the tests of a module, and the libraries to load before a fork."""

from __future__ import annotations

import ast
import importlib
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

OWN = ("app", "models", "scripts", "tests", "tools", "worker")


class Import(NamedTuple):
    """`import module`, or `from module import name`."""

    module: str
    name: str | None


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def imports(root: Path, path: str, in_functions: bool) -> frozenset[Import]:
    return frozenset(_imports(ast.parse((root / path).read_text()), in_functions))


def _imports(node: ast.AST, in_functions: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, None) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (Import(child.module or "", alias.name) for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        elif in_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(child, in_functions)


def libraries(root: Path, tests: Iterable[str]) -> frozenset[Import]:
    """What the tests import that is not ours, directly or through our own modules. What a function
    of a test imports counts too; what a function of a module does may never be needed."""
    waiting = [path for test in tests for path in [test, *conftests(root, test)]]
    seen, found = set(waiting), set()
    while waiting:
        path = waiting.pop()
        for imported in imports(root, path, path.startswith("tests/")):
            if imported.module.split(".")[0] not in OWN:
                found.add(imported)
            new = set(_files(root, imported)) - seen
            seen |= new
            waiting += new
    return frozenset(found)


def conftests(root: Path, test: str) -> Iterator[str]:
    for folder in Path(test).parents:
        if (root / folder / "conftest.py").exists():
            yield str(folder / "conftest.py")


def _files(root: Path, imported: Import) -> Iterator[str]:
    """Our files that an import runs: the module or its package, those above, and a submodule."""
    module = imported.module.replace(".", "/")
    parts = [module, *map(str, Path(module).parents)]
    for part in parts if imported.name is None else [f"{module}/{imported.name}", *parts]:
        if part.startswith(OWN):
            yield from (
                path for path in (f"{part}.py", f"{part}/__init__.py") if (root / path).is_file()
            )


def load(wanted: Iterable[Import]) -> None:
    """Import libraries; one that is not there is for the tests to miss."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module, name in sorted(wanted, key=str):
            try:
                loaded = importlib.import_module(module)
                if name is not None:
                    getattr(loaded, name, None)  # diffusers loads a class when it is asked for
            except ImportError:
                continue
