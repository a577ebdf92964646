"""Blobs as files in a folder that all processes share: a disk, or a network file system.

The modification time of a file is its expiry. The files are private to the user of the processes.
"""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.errors import BlobsUnavailable
from app.core.system.private_files import FILE_MODE, FOLDER_MODE, close_to_others

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,199}")
_DRAFT_TTL_S = 3600
"""Age at which an incomplete file is removed, because its writer must have died."""


class DirectoryBlobs:
    def __init__(self, root: Path) -> None:
        """Creates the folder if it is missing. Raises ValueError if that fails."""
        self._root = root
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
        now, removed = time.time(), 0
        with _translated_errors(self._root):
            for path in self._root.glob("??/*"):
                grace_s = _DRAFT_TTL_S if path.name.startswith(".") else 0
                try:
                    if path.stat().st_mtime + grace_s <= now:
                        path.unlink()
                        removed += 1
                except FileNotFoundError:
                    continue  # another process removed it
        return removed

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
