"""Compares the lock files with pyproject.toml.

Reports packages that are required but not locked, locked in a forbidden version, or locked but not
required.

Usage: python -m tools.checks.lock [FOLDER]
Uses no registry. The requirements of a package are read from the installed one.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

_FOR_AN_IMAGE = ("postgres", "s3", "tracing")
LOCKS: dict[str, tuple[str, ...] | None] = {
    "requirements.lock": None,
    "requirements-api.lock": ("api", *_FOR_AN_IMAGE),
    "requirements-worker.lock": ("worker", *_FOR_AN_IMAGE),
}
"""Each lock file and its extras; None: all of them."""

_PIN = re.compile(r"^([\w.-]+)(?:\[[\w,.-]*\])?==([^\s;\\]+)", re.MULTILINE)
# A lock is for every platform, so it contains packages that only one platform needs.
_MACHINES: tuple[dict[str, str], ...] = tuple(
    {**machine, "python_version": python, "python_full_version": f"{python}.{patch}"}
    for machine in (
        {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"},
        {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows"},
        {"sys_platform": "darwin", "os_name": "posix", "platform_system": "Darwin"},
        {"sys_platform": "emscripten", "os_name": "posix", "platform_system": "Emscripten"},
    )
    for python, patch in (("3.11", 0), ("3.12", 9))
)


def requirements_of(
    project: Mapping[str, dict[str, list[str]]], extras: Sequence[str] | None
) -> list[Requirement]:
    """The requirements in [project] of pyproject.toml."""
    optional = project["optional-dependencies"]
    groups = optional.values() if extras is None else [optional[extra] for extra in extras]
    texts = [*project["dependencies"], *(text for group in groups for text in group)]
    return [Requirement(text) for text in texts]


def pins_in(lock: str) -> dict[str, list[Version]]:
    """By name; a package may have a version for each Python."""
    pins: dict[str, list[Version]] = {}
    for name, version in _PIN.findall(lock):
        pins.setdefault(canonicalize_name(name), []).append(Version(version))
    return pins


def faults(requirements: Sequence[Requirement], pins: Mapping[str, list[Version]]) -> Iterator[str]:
    """A sentence for each difference."""
    needed = _needed(requirements)
    for name in sorted(needed.keys() - pins.keys()):
        yield f"{name} is not locked; {needed[name]} needs it"
    for requirement in requirements:
        for version in pins.get(canonicalize_name(requirement.name), []):
            if not requirement.specifier.contains(version, prereleases=True):
                yield f"{requirement.name} is locked as {version}, not {requirement.specifier}"
    for name in sorted(pins.keys() - needed.keys()):
        yield f"{name} is locked and nothing needs it"


def _needed(requirements: Sequence[Requirement]) -> dict[str, str]:
    """The transitive requirements on any platform, each with one package that requires it."""
    waiting = [(requirement, "pyproject.toml") for requirement in requirements]
    seen: dict[tuple[str, str], str] = {}
    while waiting:
        requirement, parent = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen[name, extra] = parent
            waiting += [(further, name) for further in _requires(name) if _wanted(further, extra)]
    return {name: parent for (name, _), parent in seen.items()}


@cache
def _requires(name: str) -> list[Requirement]:
    try:
        return [Requirement(text) for text in distribution(name).requires or []]
    except PackageNotFoundError:  # for another platform, or not locked yet
        return []


def _wanted(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**machine, "extra": extra}) for machine in _MACHINES
    )


def main(folder: Path) -> int:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    found = [
        f"{file}: {fault}"
        for file, extras in LOCKS.items()
        for fault in faults(requirements_of(project, extras), pins_in((folder / file).read_text()))
    ]
    if found:
        print("\n".join([*found, "CONTRIBUTING.md has the commands that refresh the locks."]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
