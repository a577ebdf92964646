"""The folder of LoRA files that requests may name. Torch-free.

A file's description with its SHA-256 sum is cached by the file's identity on disk, so that a
replaced file is read again and an unchanged one is not.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from threading import Lock

from models.errors import UnknownLora
from models.loras.lora_file import SUFFIX, LoraFile, read_lora_file, read_opened_lora

DEMO_LORAS = Path(__file__).parents[1] / "checkpoints" / "demo_loras"
"""The files that come with the demo checkpoint; the folder may be absent."""

_NAME = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9._ -]*[A-Za-z0-9_-])?")
_NEAREST = 3

_Identity = tuple[Path, int, int, int]


class LoraFolder:
    """The files NAME.safetensors of a folder, without its subfolders. Safe for several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cache: dict[str, tuple[_Identity, LoraFile]] = {}
        self._lock = Lock()

    def files(self) -> tuple[LoraFile, ...]:
        """Every file, by name. Reads new and changed files completely, so it may take seconds.

        Raises OSError if the folder cannot be read.
        """
        return tuple(self._read(name) for name in self.names())

    def names(self) -> list[str]:
        """Of all files, sorted. Raises OSError if the folder cannot be read."""
        return sorted(name for name, served in self._entries() if served)

    def ignored(self) -> list[str]:
        """Names of safetensors files that no request can name: of other characters, or symbolic
        links that leave the folder."""
        return sorted(f"{name}{SUFFIX}" for name, served in self._entries() if not served)

    def find(self, name: str) -> LoraFile:
        """The file of this name, with or without .safetensors; raises UnknownLora.

        Reads it completely if it is new or has changed.
        """
        return self._read(self._known(name))

    def path_of(self, name: str) -> Path:
        """As find(), without reading the file."""
        return self.path / f"{self._known(name)}{SUFFIX}"

    def _known(self, name: str) -> str:
        try:
            names = self.names()
        except OSError:  # the folder has gone; every name is unknown
            names = []
        known = name.removesuffix(SUFFIX)
        if known not in names:
            raise UnknownLora(name, difflib.get_close_matches(known, names, _NEAREST, cutoff=0))
        return known

    def _entries(self) -> list[tuple[str, bool]]:
        """(name, whether requests can name it) of each safetensors file."""
        folder = self.path.resolve()
        return [
            (path.name.removesuffix(SUFFIX), _is_served(path, folder))
            for path in self.path.iterdir()
            if path.name.endswith(SUFFIX) and path.is_file()
        ]

    def _read(self, name: str) -> LoraFile:
        path = self.path / f"{name}{SUFFIX}"
        try:
            with path.open("rb") as opened:
                status = os.fstat(opened.fileno())
                identity = (path, status.st_size, status.st_mtime_ns, status.st_ino)
                with self._lock:  # no file is read twice at once
                    cached = self._cache.get(name)
                    if cached is None or cached[0] != identity:
                        cached = self._cache[name] = identity, read_opened_lora(opened, path)
                return cached[1]
        except OSError:
            return read_lora_file(path)  # with the error


def _is_served(path: Path, folder: Path) -> bool:
    name = path.name.removesuffix(SUFFIX)
    inside = path.resolve().is_relative_to(folder)
    return inside and ".." not in name and _NAME.fullmatch(name) is not None
