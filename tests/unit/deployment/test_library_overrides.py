"""What our subclasses of library classes override must still exist in the library.

A method that a library renames or no longer calls would silently stop being overridden. The
overrides are found by introspection and compared with those found when they were last recorded.
After a change of ours: `python -m tests.unit.deployment.test_library_overrides`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import app
import worker

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[3]
RECORD = Path(__file__).with_name("library_overrides.txt")
OURS = ("app", "worker", "models")


def library_of(kind: type) -> str | None:
    """The top-level package of a class; None for a class of ours and of the standard library."""
    top = kind.__module__.partition(".")[0]
    return None if top in OURS or top in sys.stdlib_module_names else top


def subclasses() -> Iterator[type]:
    """Every class of app and worker that has a library class among its bases."""
    for package in (app, worker):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for kind in vars(importlib.import_module(module.name)).values():
                ours = inspect.isclass(kind) and kind.__module__ == module.name
                if ours and any(library_of(base) for base in kind.__mro__):
                    yield kind


def own_names(kind: type) -> set[str]:
    """What the class statement itself defines, without what Python and pydantic add."""
    added = {"_abc_impl", "_is_protocol"}
    return {name for name in vars(kind) if not name.startswith("__")} - added


def overridden(kind: type) -> Iterator[str]:
    """`package.Class.name` of everything that the class overrides in a library."""
    for name in own_names(kind):
        owner = next((base for base in kind.__mro__[1:] if name in vars(base)), None)
        while owner is not None and library_of(owner) is None:  # one of ours between
            rest = owner.__mro__[1:]
            owner = next((base for base in rest if name in vars(base)), None)
        if owner is not None:
            yield f"{library_of(owner)}.{owner.__qualname__}.{name}"


def all_overrides() -> list[str]:
    return sorted({name for kind in subclasses() for name in overridden(kind)})


def test_every_recorded_override_still_overrides_something() -> None:
    assert all_overrides() == RECORD.read_text().split()


def test_a_library_with_overridden_classes_has_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    requirements = [Requirement(text) for group in groups for text in group]
    bounded = {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if any(bound.operator in ("<", "==") for bound in requirement.specifier)
    }
    libraries = {library_of(base) for kind in subclasses() for base in kind.__mro__} - {None}
    distributions = packages_distributions()
    names = {canonicalize_name(distributions[library][0]) for library in libraries if library}
    assert {"rq", "starlette", "uvicorn"} <= names
    assert names - bounded == set()


def test_an_override_of_a_name_that_the_library_lost_is_found() -> None:
    [protocol] = [kind for kind in subclasses() if kind.__name__ == "BoundedProtocol"]
    before = set(overridden(protocol))
    [base] = [kind for kind in protocol.__mro__ if kind.__name__ == "HttpToolsProtocol"]
    with pytest.MonkeyPatch.context() as patched:
        patched.delattr(base, "pause_writing")
        lost = before - set(overridden(protocol))
    assert "uvicorn.HttpToolsProtocol.pause_writing" in lost


if __name__ == "__main__":
    RECORD.write_text("\n".join(all_overrides()) + "\n")
