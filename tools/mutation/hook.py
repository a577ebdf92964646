"""Replaces a module by a mutated text, in this process and in the Python processes that it starts.

The file on disk does not change.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tools.mutation.imports import module_name

# Read by the Python processes of the tests when they start. It imports nothing of ours, since a
# test may start its process anywhere.
_SITE = """
import importlib.machinery, importlib.util, sys
class Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, name):
        return compile({text!r}, {file!r}, "exec", dont_inherit=True)
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            loader = Loader(name, {file!r})
            return importlib.util.spec_from_file_location(name, {file!r}, loader=loader)
sys.meta_path.insert(0, Finder)
"""


_LUA = "app/core/lua/"
_LUA_LOADER = f"{_LUA}__init__.py"
_LUA_MUTANT = """
_text_on_disk = _text
def _text(name):
    return {text!r} if name == {name!r} else _text_on_disk(name)
"""


def hooked_module(path: str) -> str:
    """The module that is replaced by a mutant of a file. For a Lua script it is the loader."""
    return module_name(_LUA_LOADER if path.endswith(".lua") else path)


def hook_of(root: Path, path: str, text: str) -> Hook:
    """For a file below root that is to have this text."""
    if path.endswith(".lua"):
        name = path.removeprefix(_LUA).removesuffix(".lua")
        text = (root / _LUA_LOADER).read_text() + _LUA_MUTANT.format(text=text, name=name)
        path = _LUA_LOADER
    return Hook(module_name(path), root / path, text)


class Hook(SourceFileLoader):
    """Finder and loader of one module, by its name."""

    def __init__(self, module: str, file: Path, text: str) -> None:
        super().__init__(module, str(file))
        self._module = module
        self._text = text

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if name != self._module:
            return None
        return spec_from_file_location(name, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        del fullname
        return compile(self._text, self.path, "exec", dont_inherit=True)

    def install(self, folder: Path) -> None:
        """From now on, for this process and its children. folder: for what the children read."""
        sys.meta_path.insert(0, self)
        site = _SITE.format(module=self._module, file=self.path, text=self._text)
        (folder / "sitecustomize.py").write_text(site)
        _lead_children_to(folder)


def _lead_children_to(folder: Path) -> None:
    """Put a folder at the front of PYTHONPATH, and of those that tests give to their processes."""

    def added(environment: dict[str, str]) -> dict[str, str]:
        path = environment.get("PYTHONPATH", "")
        return {**environment, "PYTHONPATH": f"{folder}{os.pathsep}{path}".rstrip(os.pathsep)}

    os.environ.update(added(dict(os.environ)))
    start = subprocess.Popen.__init__

    def wrapped(self: Any, *arguments: Any, **options: Any) -> None:
        if options.get("env") is not None and "PYTHONPATH" in options["env"]:
            options["env"] = added(options["env"])
        start(self, *arguments, **options)

    subprocess.Popen.__init__ = wrapped  # type: ignore[method-assign]  # in this process alone
