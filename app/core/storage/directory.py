"""Blobs as files below a folder that every process sees: one disk, or a network file system. A
file's modification time is the moment at which it expires. Only the processes' user can read them.
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
_DRAFT_LIFE_S = 3600
"""How old a half-written file must be before it is taken for one whose writer died."""


class DirectoryBlobs:
    def __init__(self, root: Path) -> None:
        """Makes the folder when it is not there; raises ValueError when that fails."""
        self._root = root
        try:
            root.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            close_to_others(root.resolve())
        except OSError as error:
            raise ValueError(f"BLOB_URL: {root}: {error.strerror}") from None

    def put(self, name: str, data: bytes, expires_at: float) -> None:
        path = self._path(name)
        draft = path.with_name(f".{uuid.uuid4().hex}")
        with _named(self._root):
            path.parent.mkdir(FOLDER_MODE, exist_ok=True)
            try:
                with open(draft, "xb", opener=_private) as file:
                    file.write(data)
                    file.flush()
                    # Without it a power failure may leave the name with no bytes behind it.
                    os.fsync(file.fileno())
                os.utime(draft, (expires_at, expires_at))
                draft.replace(path)
            except OSError:
                draft.unlink(missing_ok=True)
                raise

    def get(self, name: str) -> bytes | None:
        with _named(self._root):
            try:
                with self._path(name).open("rb") as file:
                    expired = os.fstat(file.fileno()).st_mtime <= time.time()
                    return None if expired else file.read()
            except FileNotFoundError:
                self._root.stat()  # a folder that is not mounted has lost nothing
                return None

    def delete(self, *names: str) -> None:
        with _named(self._root):
            for name in names:
                self._path(name).unlink(missing_ok=True)

    def sweep(self) -> int:
        now, removed = time.time(), 0
        with _named(self._root):
            for path in self._root.glob("??/*"):
                life = _DRAFT_LIFE_S if path.name.startswith(".") else 0
                try:
                    if path.stat().st_mtime + life <= now:
                        path.unlink()
                        removed += 1
                except FileNotFoundError:
                    continue  # somebody else was faster
        return removed

    def _path(self, name: str) -> Path:
        """Names are made by this server; one that is no plain file name is a fault of ours."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a blob")
        return self._root / name[:2].ljust(2, "_") / name


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)


@contextmanager
def _named(root: Path) -> Iterator[None]:
    """An error of the file system (full, read-only, gone) is one of the infrastructure."""
    try:
        yield
    except OSError as error:
        log.error("blobs in %s: %s", root, error.strerror or error)
        raise BlobsUnavailable from error
