"""Blobs as files in a folder that all processes share: a disk, or a network file system.

The modification time of a file is its expiry. The files are private to the user of the processes.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.errors import BlobsUnavailable
from app.core.redis.keys import BLOB_NAME
from app.core.system.private_files import FILE_MODE, FOLDER_MODE, close_to_others

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,199}")
_DRAFT_TTL_S = 3600
"""Age at which an incomplete file is removed, because its writer must have died."""

_DRAFT_NAME = re.compile(r"\.[0-9a-f]{32}")

_SWEEP_S = 2.0
"""Time of one sweep: a large folder, or a slow file system, must not hold up other tasks."""


class DirectoryBlobs:
    def __init__(self, root: Path) -> None:
        """Creates the folder if it is missing. Raises ValueError if that fails."""
        self._root = root
        self._unvisited: Iterator[Path] | None = None  # of an interrupted sweep
        try:
            root.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            close_to_others(root.resolve())
        except OSError as error:
            raise ValueError(f"BLOB_URL: {root}: {error.strerror}") from None

    def put(self, name: str, data: bytes, expires_at: float) -> None:
        path = self._path(name)
        draft = path.with_name(f".{uuid.uuid4().hex}")
        with _translated_errors(self._root):
            path.parent.mkdir(FOLDER_MODE, exist_ok=True)
            try:
                with open(draft, "xb", opener=_private) as file:
                    file.write(data)
                    file.flush()
                    # Otherwise a power failure can leave an empty file.
                    os.fsync(file.fileno())
                os.utime(draft, (expires_at, expires_at))
                draft.replace(path)
            except OSError:
                draft.unlink(missing_ok=True)
                raise

    def get(self, name: str) -> bytes | None:
        with _translated_errors(self._root):
            try:
                with self._path(name).open("rb") as file:
                    expired = os.fstat(file.fileno()).st_mtime <= time.time()
                    return None if expired else file.read()
            except FileNotFoundError:
                self._root.stat()  # raises if the folder is not mounted: that is no miss
                return None

    def delete(self, *names: str) -> None:
        with _translated_errors(self._root):
            for name in names:
                self._path(name).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Removes only files with names of blobs: other programs may use the folder too."""
        end, removed = time.monotonic() + _SWEEP_S, 0
        if self._unvisited is None:
            self._unvisited = self._root.glob("??/*")
        with _translated_errors(self._root):
            for path in self._unvisited:
                removed += self._remove_expired(path)
                if time.monotonic() >= end:
                    return removed
        self._unvisited = None
        return removed

    def _remove_expired(self, path: Path) -> bool:
        if _DRAFT_NAME.fullmatch(path.name):
            grace_s = _DRAFT_TTL_S
        elif BLOB_NAME.fullmatch(path.name) and path == self._path(path.name):
            grace_s = 0
        else:
            return False
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_mtime + grace_s > time.time():
                return False
            path.unlink()
        except FileNotFoundError:
            return False  # another process removed it
        return True

    def free_bytes(self) -> int | None:
        with _translated_errors(self._root):
            return shutil.disk_usage(self._root).free

    def _path(self, name: str) -> Path:
        """The server chooses the names, so an invalid one is a bug: ValueError."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a blob")
        return self._root / name[:2].ljust(2, "_") / name


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)


@contextmanager
def _translated_errors(root: Path) -> Iterator[None]:
    """Turn an error of the file system (full, read-only, gone) into BlobsUnavailable."""
    try:
        yield
    except OSError as error:
        log.error("blobs in %s: %s", root, error.strerror or error)
        raise BlobsUnavailable from error
