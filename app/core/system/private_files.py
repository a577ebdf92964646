"""Files that only the user of this server may read: the modes of what is there, and the mask for
what is made from now on. Follows no symbolic link and knows nothing of what the files hold.
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
"""Every right of a file's group and of everybody else."""


def mask_others() -> None:
    """What this process and its children make from now on is for their user alone."""
    os.umask(_OTHERS)


def close_to_others(path: Path) -> None:
    """Take the rights of others from one file or folder, when it is there. A symbolic link at its
    place is left alone. What cannot be changed, since it is another user's, is one line of log."""
    if not _closed(path):
        log.warning("%s keeps its mode: it belongs to another user", path)


def close_tree_to_others(folder: Path) -> None:
    """The same for a folder and everything below it; what disappears meanwhile is no error."""
    refused = [] if _closed(folder) else [folder]
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if not _closed(path):
                refused.append(path)
    if refused:
        log.warning(
            "%d files of %s keep their modes, since they belong to other users; one is %s",
            *(len(refused), folder, refused[0]),
        )


def private_folder(path: Path) -> Path:
    """`path` as a folder of this user alone, made when it is not there. Raises PermissionError for
    one that is another user's, a link, or no folder: somebody else may have made it first."""
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not a folder of this user")
    close_to_others(path)
    return path


def _closed(path: Path) -> bool:
    """Whether others have no rights on it by now; also when it is a link or has disappeared."""
    try:
        # A handle that follows no link: what is judged is what is changed.
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
