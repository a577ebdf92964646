"""Which source files have changed since the last look, by their modification times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_SUFFIXES = {".py", ".lua", ".html", ".css", ".js"}


class Sources:
    """The code below some folders; a file that is new or gone is a change, too."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._known = self._times()

    def changed(self) -> list[Path]:
        """What differs from the last call, or from the start."""
        now, before = self._times(), self._known
        self._known = now
        return sorted(file for file in now.keys() | before if now.get(file) != before.get(file))

    def _times(self) -> dict[Path, int]:
        times = {}
        for folder in self._folders:
            for file in folder.rglob("*.*"):
                if file.suffix in _SUFFIXES:
                    try:
                        times[file] = file.stat().st_mtime_ns
                    except FileNotFoundError:  # an editor replaces it at this moment
                        continue
        return times
