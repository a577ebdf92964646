"""Stand-ins for packages that models/ or diffusers import and that no measurement calls.

A GPU machine often has only torch and transformers. The bench downloads nothing and measures
neither control maps nor stochastic samplers, so the packages for these may be missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_NOT_MEASURED = {
    "controlnet_aux": ("midas", "open_pose", "open_pose.body"),
    "cv2": (),
    "httpx2": (),  # the hub's client from huggingface_hub 2 on; 1.33 has httpx
    "requests": (),
    "scipy": ("integrate", "optimize", "special", "stats"),
    "torchsde": (),
}
_CHECKED = {"requests": "2.32.0"}
"""Packages whose installed version diffusers checks at its import, and a version that it takes."""


class _StandIn(ModuleType):
    """A module in which every public name is an empty class."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)  # diffusers asks for it
        self.__path__ = []  # a package: its submodules are found in sys.modules

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


class _StandInFinder(DistributionFinder):
    """Finds the metadata of stand-ins, and no module: those are in sys.modules."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        wanted = None if context is None else context.name
        return [_StandInDistribution(name) for name in self._names if wanted in (name, None)]


def fill_in() -> tuple[str, ...]:
    """Make the missing ones importable; their names. To be called before models/ is imported."""
    missing = tuple(name for name in _NOT_MEASURED if find_spec(name) is None)
    for name in missing:
        for path in (name, *(f"{name}.{part}" for part in _NOT_MEASURED[name])):
            sys.modules[path] = _StandIn(path)
    sys.meta_path.append(_StandInFinder(name for name in missing if name in _CHECKED))
    return missing
