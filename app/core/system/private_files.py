"""Private files: modes of existing files, and the umask for new ones, without rights for others.

Follows no symbolic link. Does not know what the files contain.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

log = logging.getLogger(__name__)

FILE_MODE = 0o600
FOLDER_MODE = 0o700

_OTHERS = 0o077
"""All rights of a file's group and of others."""


def mask_others() -> None:
    """Set the umask, so that new files of this process and its children are private."""
    os.umask(_OTHERS)


def close_to_others(path: Path) -> None:
    """Remove the rights of others from a file or folder, if it exists. Skips a symbolic link. Logs
    a warning for a file of another user, whose mode cannot be changed."""
    if not _closed(path):
        log.warning("%s keeps its mode: it belongs to another user", path)


def close_tree_to_others(folder: Path) -> None:
    """The same for a folder and everything below it. Files may disappear meanwhile."""
    unchanged = [] if _closed(folder) else [folder]
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if not _closed(path):
                unchanged.append(path)
    if unchanged:
        log.warning(
            "%d files of %s keep their modes, since they belong to other users; one is %s",
            *(len(unchanged), folder, unchanged[0]),
        )


def private_folder(path: Path) -> Path:
    """Create `path` as a private folder if it is missing. Raises PermissionError if it is a link,
    not a folder, or another user's, who may have created it first."""
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not a folder of this user")
    close_to_others(path)
    return path


def _closed(path: Path) -> bool:
    """Remove the rights of others; True if they have none now, or for a link or no file."""
    try:
        # Check and change through one descriptor that follows no link: no race.
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISLNK(mode) and mode & _OTHERS:
            Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IMODE(mode) & ~_OTHERS)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
