"""The folders of a single-machine server: lock on DATA_DIR, no rights for other users."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from app.core.settings import Settings
from app.core.system.exit import refuse
from app.core.system.private_files import FOLDER_MODE, close_to_others, close_tree_to_others


@contextmanager
def locked(folder: Path, command: str) -> Iterator[None]:
    """Lock the folder for this process; create it if missing. Removes the rights of other users
    from it and everything below it. Exits with one line if another server holds the lock.

    command: name of the command, for that line.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    close_to_others(folder)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            refuse(f"{command}: {folder} is in use by another server; end it, or set DATA_DIR")
        close_tree_to_others(folder)
        yield


def close_pictures(settings: Settings) -> None:
    """Remove the rights of other users from the folder of BLOB_URL, if it is a folder."""
    parts = urlsplit(settings.blob_url)
    if parts.scheme == "file":
        close_tree_to_others(Path(parts.path).resolve())
