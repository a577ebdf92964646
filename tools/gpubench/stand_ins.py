"""Stand-ins for packages that models/ imports and that no measurement calls.

A GPU machine often has only torch and transformers. The bench measures neither control maps nor the
noise of stochastic samplers, so their packages may be missing.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_NOT_MEASURED = {
    "controlnet_aux": ("midas", "open_pose", "open_pose.body"),
    "cv2": (),
    "torchsde": (),
}


class _StandIn(ModuleType):
    """A module in which every public name is an empty class."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)  # diffusers asks for it

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def fill_in() -> tuple[str, ...]:
    """Make the missing ones importable; their names. To be called before models/ is imported."""
    missing = tuple(name for name in _NOT_MEASURED if find_spec(name) is None)
    for name in missing:
        for path in (name, *(f"{name}.{part}" for part in _NOT_MEASURED[name])):
            sys.modules[path] = _StandIn(path)
    return missing
