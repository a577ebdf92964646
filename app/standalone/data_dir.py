"""The folders of a server on one machine: one server at a time works in DATA_DIR, and only its user
can read what is there.
"""

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
    """The folder is this process's alone meanwhile, made when it is not there, and closed to other
    users with everything below it. Leaves with one line when another server works in it.

    command: of whom the line is.
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
    """Close the folder of BLOB_URL, if that is one, to other users, with everything in it."""
    parts = urlsplit(settings.blob_url)
    if parts.scheme == "file":
        close_tree_to_others(Path(parts.path).resolve())
