"""Stand-ins for packages that models/ or diffusers import and that no measurement calls.

A GPU machine often has only torch and transformers. The bench downloads nothing and measures
neither control maps nor stochastic samplers, so the packages for these may be missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_NOT_MEASURED = (
    "controlnet_aux",
    "cv2",
    "httpx2",  # the hub's client from huggingface_hub 2 on; 1.33 has httpx
    "requests",
    "scipy",
    "torchsde",
)
_CHECKED = {"requests": "2.32.0"}
"""Packages whose installed version diffusers checks at its import, and a version that it takes."""


class _StandIn(ModuleType):
    """A module in which every public name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _StandInDistribution(Distribution):
    """The metadata of a package that is not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: {self._name}\nVersion: {_CHECKED[self._name]}\n"

    def locate_file(self, path: object) -> Path:
        return Path(str(path))


class _StandInFinder(DistributionFinder, Loader):
    """Finds stand-ins for the packages `names`, with every submodule and their metadata."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        stands = fullname.partition(".")[0] in self._names
        return ModuleSpec(fullname, self, is_package=True) if stands else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: a stand-in makes its names when they are asked for."""

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        wanted = None if context is None else context.name
        checked = [name for name in self._names if name in _CHECKED]
        return [_StandInDistribution(name) for name in checked if wanted in (name, None)]


def fill_in() -> tuple[str, ...]:
    """Make the missing ones importable; their names. To be called before models/ is imported."""
    missing = tuple(name for name in _NOT_MEASURED if find_spec(name) is None)
    for name in missing:
        sys.modules.pop(name, None)  # a blocked import has None there
    sys.meta_path.insert(0, _StandInFinder(missing))  # before one that finds a blocked package
    return missing
